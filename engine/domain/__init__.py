"""What the engine talks about: records, states, events and errors. Standard library and pydantic only, no I/O."""
