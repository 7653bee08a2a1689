"""Entry points of a deployment, and the workflows it runs."""
