"""Durations: a `timedelta`, or a number of seconds."""

from datetime import timedelta
from math import isfinite

type Duration = timedelta | float


def seconds(value: Duration, name: str) -> float:
    """The duration in seconds. Raises `ValueError` unless it is a finite number, zero or more."""
    number = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise ValueError(f"{name} must be a timedelta or a number of seconds, not {value!r}")
    if not isfinite(number) or number < 0:
        raise ValueError(f"{name} must be zero or more seconds, not {value!r}")
    return float(number)
