"""A value in a row: inline, by blob key, or collected from the stages of a group.

{"json": "…"}                      the value itself, up to INLINE_OUTPUT_MAX_BYTES of JSON, as text: PostgreSQL's jsonb
                                   reorders keys, loses the sign of -0.0, and refuses U+0000
{"blob": "workflow-v2/…", "size"}  the key of a JSON document in the blob store
{"stages": {stage id: stored}}     the outputs of a parallel group
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

type Json = Any
type StoredValue = Mapping[str, Json]


def json_text(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def inline(value: Json) -> StoredValue:
    return {"json": json_text(value)}


def inlined(stored: StoredValue) -> Json:
    """The value that `inline` stored."""
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
