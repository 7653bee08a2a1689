"""JSON that every store can hold: finite numbers, string keys, and text without U+0000 and half surrogate pairs.

PostgreSQL's jsonb refuses the rest.
"""

import json
import math
import re
from collections.abc import Mapping

from engine.domain.errors import InvalidInput
from engine.domain.stored_value import Json

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def checked(value: Json, what: str) -> Json:
    """Copies `value` into plain JSON types. Raises `InvalidInput` that names `what` and the place of the fault."""
    match value:
        case None | bool() | int():
            return value
        case float():
            if not math.isfinite(value):
                raise InvalidInput(f"{what} is {value!r}, which JSON cannot hold; use null or a string")
            return value
        case str():
            _check_text(value, what)
            return str(value)
        case Mapping():
            return {_key(key, what): checked(part, f"{what}.{key}") for key, part in value.items()}
        case list() | tuple():
            return [checked(part, f"{what}[{index}]") for index, part in enumerate(value)]
        case _:
            raise InvalidInput(f"{what} has the type {type(value).__name__}, which is not JSON; convert it first")


def _key(key: object, what: str) -> str:
    if not isinstance(key, str):
        raise InvalidInput(f"{what} has the key {key!r}; JSON keys are strings")
    _check_text(key, f"a key of {what}")
    return key


def _check_text(text: str, what: str) -> None:
    found = _UNSTORABLE.search(text)
    if found is None:
        return
    if found.group() == "\x00":
        raise InvalidInput(f"{what} contains the character U+0000; remove it")
    raise InvalidInput(f"{what} contains half a surrogate pair; remove it")


def plain(value: object) -> Json:
    """Converts any value to JSON, with replacements where needed. For log metadata, which must never fail."""
    try:
        text = json.dumps(value, default=str, allow_nan=False)
    except (TypeError, ValueError):
        text = json.dumps(str(value))
    return _repaired(json.loads(text))


def _repaired(value: Json) -> Json:
    match value:
        case str():
            return _UNSTORABLE.sub("\ufffd", value)
        case list():
            return [_repaired(part) for part in value]
        case dict():
            return {_repaired(key): _repaired(part) for key, part in value.items()}
        case _:
            return value
