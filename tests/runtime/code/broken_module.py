"""A module that cannot be loaded."""

raise ArithmeticError("cannot be loaded")
