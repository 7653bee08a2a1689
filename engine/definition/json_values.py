"""What can be stored: JSON without NaN and infinities."""

from math import isfinite

from pydantic_core import to_jsonable_python

from engine.domain.stored_value import Json


def as_json(value: object) -> Json:
    """The value as JSON types. `ValueError` when it has no JSON form or holds NaN or an infinity."""
    stored = to_jsonable_python(value)
    refuse_non_finite(stored)
    return stored


def as_readable_json(value: object) -> Json:
    """The value as JSON types, whatever it is: what has no JSON form becomes text. For logs."""
    return to_jsonable_python(value, serialize_unknown=True, bytes_mode="base64", inf_nan_mode="strings")


def refuse_non_finite(value: Json) -> None:
    path = _non_finite_path(value)
    if path is not None:
        raise ValueError(f"{path or '(value)'}: NaN and infinities cannot be stored as JSON")


def _non_finite_path(value: Json) -> str | None:
    """Where the first NaN or infinity is; "" when it is the value itself."""
    match value:
        case float():
            return None if isfinite(value) else ""
        case dict():
            return _first_path(value.items())
        case list():
            return _first_path(enumerate(value))
        case _:
            return None


def _first_path(items: Json) -> str | None:
    for key, part in items:
        if isinstance(part, float | dict | list) and (path := _non_finite_path(part)) is not None:
            return f"{key}.{path}".rstrip(".")
    return None
