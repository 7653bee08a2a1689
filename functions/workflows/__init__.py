"""The deployment's workflows: one module for each, and `registry.py` with the list."""
