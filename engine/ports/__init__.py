"""What the kernel needs from the world: one Protocol per file, whose docstring is the contract."""
