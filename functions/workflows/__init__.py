"""The folder to edit: one module per workflow, and `registry.py` listing them."""
