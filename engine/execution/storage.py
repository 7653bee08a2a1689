"""`ctx.storage`: files in the blob store, limited to the prefix of one run."""

from pathlib import Path
from typing import BinaryIO

from engine.domain.blob_keys import generation_prefix, run_prefix, storage_name, validate_key
from engine.domain.errors import InvalidBlobKey
from engine.domain.records import RunRecord, StageRecord
from engine.domain.values import Json
from engine.ports.blob_store import BlobStore


class RunStorage:
    """Names are relative to this generation of the stage. Keys from `get_stage_key` of any stage of the run work.

    A part of a name that is too long for a file system is shortened in the key.
    """

    def __init__(self, run: RunRecord, stage: StageRecord, blob_store: BlobStore) -> None:
        self._run_prefix = run_prefix(run)
        self._prefix = f"{generation_prefix(run, stage)}/files"
        self._blob_store = blob_store

    def get_stage_key(self, name: str) -> str:
        return validate_key(f"{self._prefix}/{storage_name(name)}")

    def save(self, name: str, value: Json) -> str:
        return self._blob_store.put(self._key(name), value).key

    def load(self, name: str) -> Json:
        return self._blob_store.get(self._key(name))

    def save_bytes(self, name: str, data: bytes, content_type: str = "application/octet-stream") -> str:
        return self._blob_store.put_bytes(self._key(name), data, content_type=content_type).key

    def load_bytes(self, name: str) -> bytes:
        with self.open(name) as file:
            return file.read()

    def save_file(self, name: str, path: Path, content_type: str = "application/octet-stream") -> str:
        return self._blob_store.put_file(self._key(name), path, content_type=content_type).key

    def open(self, name: str) -> BinaryIO:
        return self._blob_store.open(self._key(name))

    def exists(self, name: str) -> bool:
        return self._blob_store.has(self._key(name))

    def delete(self, name: str) -> None:
        self._blob_store.delete(self._key(name))

    def _key(self, name: str) -> str:
        if not name.startswith("workflow-v2/"):
            return self.get_stage_key(name)
        key = validate_key(name)
        if not key.startswith(f"{self._run_prefix}/"):
            raise InvalidBlobKey(f"key {name!r} is outside this run's prefix {self._run_prefix!r}")
        return key
