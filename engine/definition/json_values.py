"""What can be stored: JSON without NaN and infinities."""

from math import isfinite
from typing import Any

from pydantic_core import from_json, to_json, to_jsonable_python

from engine.domain.stored_value import Json

CONTAINERS = (dict, list, tuple, set, frozenset)


def as_json(value: object) -> Json:
    """The value as JSON types. `ValueError` when it has no JSON form or holds NaN or an infinity."""
    stored = to_jsonable_python(value)
    refuse_non_finite(stored)
    return stored


def as_readable_json(value: object) -> Json:
    """The value as JSON types, whatever it is: what has no JSON form becomes text. For logs."""
    return from_json(to_json(value, serialize_unknown=True, bytes_mode="base64", inf_nan_mode="strings"))


def refuse_non_finite(value: object) -> None:
    """`ValueError` naming the place of the first NaN or infinity in nested dicts, lists, tuples and sets."""
    path = _non_finite_path({"": value})
    if path is not None:
        raise ValueError(f"{path.strip('.') or '(value)'}: NaN and infinities cannot be stored as JSON")


def _non_finite_path(container: Any) -> str | None:
    for key, part in container.items() if isinstance(container, dict) else enumerate(container):
        if isinstance(part, float):
            if not isfinite(part):
                return str(key)
        elif isinstance(part, CONTAINERS) and (path := _non_finite_path(part)) is not None:
            return f"{key}.{path}"
    return None
