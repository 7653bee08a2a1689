"""The JSON form of blobs. Unlike rows, blobs may contain U+0000."""

import json

from engine.domain.errors import InvalidInput
from engine.domain.stored_value import Json

CONTENT_TYPE = "application/json"


def to_document(value: Json, key: str) -> bytes:
    """Raises `InvalidInput` for a value that is not JSON: NaN, infinities, other types, half surrogate pairs."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"the value for blob {key!r} is not JSON: {error}") from error
