"""The kernel's ports: one Protocol per file. Its docstring is the contract."""
