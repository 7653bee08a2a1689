"""The transitions: pure functions that take a snapshot and a fact, and return `Changes` or `Refused`."""
