from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from engine.domain.values import Json, StoredValue, inlined


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobInfo:
    """The metadata of a blob: size in bytes, sha256 in hex."""

    key: str
    size: int
    sha256: str
    content_type: str


class BlobStore(Protocol):
    """Large values under slash-separated keys.

    Keys that are empty, absolute, end in "/", or hold "..", ".", empty segments, backslashes, "%" + hex escapes or
    control characters, and keys of more than 900 bytes or with a segment of more than 250 bytes, raise `InvalidBlobKey`
    from every method. A put replaces the whole blob atomically: a reader
    sees the old one or the new one. Reading a missing key raises `BlobNotFound`; deleting one is a no-op. `list`
    gives the keys that begin with `prefix + "/"` (or are equal to it), sorted; a prefix never matches half a segment.
    JSON goes through `put`/`get`; bytes and files are streamed, never held whole in memory.
    """

    def put(self, key: str, value: Json) -> BlobInfo: ...
    def get(self, key: str) -> Json: ...
    def put_bytes(self, key: str, data: bytes, *, content_type: str) -> BlobInfo: ...
    def put_file(self, key: str, path: Path, *, content_type: str) -> BlobInfo: ...
    def open(self, key: str) -> BinaryIO: ...
    def has(self, key: str) -> bool: ...
    def delete(self, key: str) -> None: ...
    def delete_prefix(self, prefix: str) -> int: ...
    def list(self, prefix: str) -> Iterator[str]: ...
    def info(self, key: str) -> BlobInfo: ...


def load_value(stored: StoredValue, blob_store: BlobStore) -> Json:
    """The stored value. Reads one blob for each key in it."""
    if "json" in stored:
        return inlined(stored)
    if "blob" in stored:
        return blob_store.get(stored["blob"])
    return {stage_id: load_value(part, blob_store) for stage_id, part in stored["stages"].items()}
