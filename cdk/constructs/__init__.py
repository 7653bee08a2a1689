"""Each construct is one capability. Its inputs are keyword arguments."""
