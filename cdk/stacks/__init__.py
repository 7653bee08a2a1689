"""The stacks: the units of deployment."""
