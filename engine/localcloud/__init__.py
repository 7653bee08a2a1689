"""A cloud on this machine: emulated AWS, a real PostgreSQL and the real handlers, without containers."""
