"""The domain: records, states, events and errors. It uses the standard library and pydantic only, without I/O."""
