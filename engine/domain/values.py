"""Stored values: JSON in a row, in a blob, or collected from the stages of a group.

Every store can hold finite numbers, string keys, and text without U+0000 and half surrogate pairs; PostgreSQL's jsonb
refuses the rest. It writes a float of 1e16 and more as a whole number, so in documents such floats become integers of
the same value, for every store. A row holds a value that may be large as one of

{"json": "…"}                      the value itself, up to INLINE_OUTPUT_MAX_BYTES of JSON, as text: PostgreSQL's jsonb
                                   would put keys into another order, lose the sign of -0.0, and not hold U+0000
{"blob": "workflow-v2/…", "size"}  the key of a JSON document in the blob store
{"stages": {stage id: stored}}     the outputs of a parallel group
"""

import json
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic_core import PydanticSerializationError, from_json, to_json, to_jsonable_python

from engine.domain.errors import InvalidInput

type Json = Any
type StoredValue = Mapping[str, Json]


def json_text(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def inline(value: Json) -> StoredValue:
    return {"json": json_text(value)}


def inlined(stored: StoredValue) -> Json:
    """The value of an inline stored value."""
    return json.loads(stored["json"])


def in_blob(key: str, size: int) -> StoredValue:
    return {"blob": key, "size": size}


def by_stage(stages: Mapping[str, StoredValue]) -> StoredValue:
    return {"stages": dict(stages)}


def blob_keys(stored: StoredValue | None) -> Iterator[str]:
    """The keys of all blobs that a stored value refers to."""
    if stored is None:
        return
    if "blob" in stored:
        yield stored["blob"]
    for part in stored.get("stages", {}).values():
        yield from blob_keys(part)


_WHOLE_IN_JSONB = 1e16
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
"""Characters that no store holds, and no stored text has."""


def checked(value: Json, what: str, *, is_document: bool = False) -> Json:
    """Copies `value` into plain JSON types. Raises `InvalidInput` with `what` and the path of the fault.

    `is_document`: the value is the whole of a column, which jsonb holds in PostgreSQL.
    """
    try:
        return _checked(value, what, is_document=is_document)
    except RecursionError as error:
        raise InvalidInput(f"{what} is nested too deeply; use fewer levels") from error


def _checked(value: Json, what: str, *, is_document: bool) -> Json:
    match value:
        case None | bool():
            return value
        case int():
            if _is_too_long(value):
                raise InvalidInput(f"{what} is {_too_long()}; use a string")
            return value
        case float():
            if not math.isfinite(value):
                raise InvalidInput(f"{what} is {value!r}, which JSON cannot hold; use null or a string")
            return _portable(value) if is_document else value
        case str():
            _check_text(value, what)
            return str(value)
        case Mapping():
            return {
                _key(key, what): _checked(part, f"{what}.{key}", is_document=is_document) for key, part in value.items()
            }
        case list() | tuple():
            return [_checked(part, f"{what}[{index}]", is_document=is_document) for index, part in enumerate(value)]
        case _:
            raise InvalidInput(f"{what} has the type {type(value).__name__}, which is not JSON; convert it first")


_SURELY_SHORT = 2000
"""Bits of a whole number that Python turns into text under any limit: the smallest is 640 digits."""


def _is_too_long(number: int) -> bool:
    """Whether Python refuses to turn the number into text, and so into JSON."""
    if number.bit_length() <= _SURELY_SHORT:
        return False
    try:
        str(number)
    except ValueError:
        return True
    return False


def _too_long() -> str:
    return f"a whole number of more than {sys.get_int_max_str_digits():,} digits, which cannot be stored"


def _portable(number: float) -> float | int:
    return int(number) if abs(number) >= _WHOLE_IN_JSONB else number


def _key(key: object, what: str) -> str:
    if not isinstance(key, str):
        raise InvalidInput(f"{what} has the key {key!r}; JSON keys are strings")
    _check_text(key, f"a key of {what}")
    return key


def _check_text(text: str, what: str) -> None:
    found = UNSTORABLE.search(text)
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
        text = json.dumps(_as_text(value, str))
    return _repaired(json.loads(text))


def _as_text(value: object, written: Callable[[object], str]) -> str:
    try:
        return written(value)
    except ValueError:
        return f"{type(value).__name__} with {_too_long()}"


def _repaired(value: Json) -> Json:
    match value:
        case str():
            return UNSTORABLE.sub("\ufffd", value)
        case float():
            return _portable(value)
        case list():
            return [_repaired(part) for part in value]
        case dict():
            return {_repaired(key): _repaired(part) for key, part in value.items()}
        case _:
            return value


_CONTAINERS = (dict, list, tuple, set, frozenset)


def as_json(value: object) -> Json:
    """The value as JSON types. Raises `ValueError` when it has no JSON form or cannot be stored."""
    stored = to_jsonable_python(value)
    refuse_unstorable(stored)
    return stored


def as_readable_json(value: object) -> Json:
    """Any value as JSON types, for logs. A part without a JSON form becomes text, or the whole value does."""
    try:
        return from_json(to_json(value, serialize_unknown=True, bytes_mode="base64", inf_nan_mode="strings"))
    except (PydanticSerializationError, ValueError):  # text with half a surrogate pair, or too long a number
        return _as_text(value, repr)


def refuse_unstorable(value: object) -> None:
    """Raises `ValueError` for the first NaN, infinity, too long a number or text with U+0000 in nested containers."""
    found = _unstorable({"": value})
    if found is not None:
        path, reason = found
        raise ValueError(f"{path.strip('.') or '(value)'}: {reason}")


def _unstorable(container: Any) -> tuple[str, str] | None:
    """The path and the reason of the first fault; None when everything can be stored."""
    for key, part in container.items() if isinstance(container, dict) else enumerate(container):
        if isinstance(part, float):
            if not math.isfinite(part):
                return str(key), "NaN and infinities cannot be stored as JSON"
        elif isinstance(part, int):
            if _is_too_long(part):
                return str(key), f"{_too_long()}; use a string"
        elif isinstance(part, str):
            if "\x00" in part:
                return str(key), "text with the character U+0000 cannot be stored"
        elif isinstance(part, _CONTAINERS) and (found := _unstorable(part)) is not None:
            return f"{key}.{found[0]}", found[1]
    return None


CONTENT_TYPE = "application/json"


def to_document(value: Json, key: str) -> bytes:
    """Raises `InvalidInput` for a value that is not JSON: NaN, infinities, other types, half surrogate pairs."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"the value for blob {key!r} is not JSON: {error}") from error
