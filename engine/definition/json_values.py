"""Storable values: JSON without NaN, infinities and U+0000, which PostgreSQL cannot hold."""

from math import isfinite
from typing import Any

from pydantic_core import PydanticSerializationError, from_json, to_json, to_jsonable_python

from engine.domain.stored_value import Json

CONTAINERS = (dict, list, tuple, set, frozenset)


def as_json(value: object) -> Json:
    """The value as JSON types. Raises `ValueError` when it has no JSON form or cannot be stored."""
    stored = to_jsonable_python(value)
    refuse_unstorable(stored)
    return stored


def as_readable_json(value: object) -> Json:
    """Any value as JSON types, for logs. A part without a JSON form becomes text."""
    try:
        return from_json(to_json(value, serialize_unknown=True, bytes_mode="base64", inf_nan_mode="strings"))
    except (PydanticSerializationError, ValueError):  # text with half a surrogate pair
        return repr(value)


def refuse_unstorable(value: object) -> None:
    """Raises `ValueError` for the first NaN, infinity or text with U+0000 in nested dicts, lists, tuples and sets."""
    found = _unstorable({"": value})
    if found is not None:
        path, reason = found
        raise ValueError(f"{path.strip('.') or '(value)'}: {reason}")


def _unstorable(container: Any) -> tuple[str, str] | None:
    """The path and the reason of the first fault; None when everything can be stored."""
    for key, part in container.items() if isinstance(container, dict) else enumerate(container):
        if isinstance(part, float):
            if not isfinite(part):
                return str(key), "NaN and infinities cannot be stored as JSON"
        elif isinstance(part, str):
            if "\x00" in part:
                return str(key), "text with the character U+0000 cannot be stored"
        elif isinstance(part, CONTAINERS) and (found := _unstorable(part)) is not None:
            return f"{key}.{found[0]}", found[1]
    return None
