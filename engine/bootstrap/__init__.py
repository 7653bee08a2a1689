"""The composition root: from settings to a working engine. The only package that picks adapters."""
