"""The composition root: builds an engine from settings. Only this package picks adapters."""
