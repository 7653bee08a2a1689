"""What workflow authors write: stages, workflows, and what a body is given. No stores, no hosts."""
