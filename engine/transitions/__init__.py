"""The meaning of every transition: pure functions of a snapshot and a fact that give `Changes` or `Refused`."""
