"""How a row holds a value that may be large: inline, by blob key, or collected from a group's stages.

{"value": …}                       the value itself, up to INLINE_OUTPUT_MAX_BYTES of JSON
{"blob": "workflow-v2/…", "size"}  the key of a JSON document in the blob store
{"stages": {stage id: stored}}     the outputs of a parallel group
"""

from collections.abc import Iterator, Mapping
from typing import Any

type Json = Any
type StoredValue = Mapping[str, Json]


def inline(value: Json) -> StoredValue:
    return {"value": value}


def in_blob(key: str, size: int) -> StoredValue:
    return {"blob": key, "size": size}


def by_stage(stages: Mapping[str, StoredValue]) -> StoredValue:
    return {"stages": dict(stages)}


def blob_keys(stored: StoredValue | None) -> Iterator[str]:
    """Every blob key a stored value refers to."""
    if stored is None:
        return
    if "blob" in stored:
        yield stored["blob"]
    for part in stored.get("stages", {}).values():
        yield from blob_keys(part)
