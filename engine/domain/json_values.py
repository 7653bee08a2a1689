"""What may be stored as JSON: finite numbers, string keys, and no U+0000, which PostgreSQL's jsonb cannot hold."""

import json
import math
from collections.abc import Mapping

from engine.domain.errors import InvalidInput
from engine.domain.stored_value import Json

NUL = "\x00"


def checked(value: Json, what: str) -> Json:
    """A copy of `value` in plain JSON types. Raises `InvalidInput` naming `what` and where it is not JSON."""
    match value:
        case None | bool() | int():
            return value
        case float():
            if not math.isfinite(value):
                raise InvalidInput(f"{what} is {value!r}, which JSON cannot hold; use null or a string")
            return value
        case str():
            if NUL in value:
                raise InvalidInput(f"{what} contains the character U+0000; remove it")
            return str(value)
        case Mapping():
            return {_key(key, what): checked(part, f"{what}.{key}") for key, part in value.items()}
        case list() | tuple():
            return [checked(part, f"{what}[{index}]") for index, part in enumerate(value)]
    raise InvalidInput(f"{what} is a {type(value).__name__}, which is not JSON; convert it first")


def _key(key: object, what: str) -> str:
    if not isinstance(key, str) or NUL in key:
        raise InvalidInput(f"{what} has the key {key!r}; JSON keys are strings without U+0000")
    return key


def plain(value: object) -> Json:
    """The nearest JSON to `value`, for things that must not fail for being said badly, such as log metadata."""
    try:
        text = json.dumps(value, default=str, allow_nan=False)
    except (TypeError, ValueError):
        text = json.dumps(str(value))
    return json.loads(text.replace("\\u0000", "\\ufffd"))
