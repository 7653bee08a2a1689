import hashlib
import io
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from engine.domain.blob_keys import is_under, validate_key
from engine.domain.errors import BlobNotFound
from engine.domain.values import CONTENT_TYPE, Json, to_document
from engine.ports.blob_store import BlobInfo


@dataclass(frozen=True, slots=True)
class _Blob:
    data: bytes
    info: BlobInfo


class InMemoryBlobStore:
    def __init__(self) -> None:
        self._blobs: dict[str, _Blob] = {}
        self._lock = threading.Lock()

    def put(self, key: str, value: Json) -> BlobInfo:
        return self.put_bytes(key, to_document(value, key), content_type=CONTENT_TYPE)

    def get(self, key: str) -> Json:
        return json.loads(self._find(key).data)

    def put_bytes(self, key: str, data: bytes, *, content_type: str) -> BlobInfo:
        sha256 = hashlib.sha256(data).hexdigest()
        info = BlobInfo(key=validate_key(key), size=len(data), sha256=sha256, content_type=content_type)
        with self._lock:
            self._blobs[key] = _Blob(bytes(data), info)
        return info

    def put_file(self, key: str, path: Path, *, content_type: str) -> BlobInfo:
        validate_key(key)
        return self.put_bytes(key, path.read_bytes(), content_type=content_type)

    def open(self, key: str) -> BinaryIO:
        return io.BytesIO(self._find(key).data)

    def has(self, key: str) -> bool:
        return validate_key(key) in self._blobs

    def delete(self, key: str) -> None:
        with self._lock:
            self._blobs.pop(validate_key(key), None)

    def delete_prefix(self, prefix: str) -> int:
        keys = tuple(self.list(prefix))
        for key in keys:
            self.delete(key)
        return len(keys)

    def list(self, prefix: str) -> Iterator[str]:
        validate_key(prefix)
        with self._lock:
            found = sorted(key for key in self._blobs if is_under(key, prefix))
        return iter(found)

    def info(self, key: str) -> BlobInfo:
        return self._find(key).info

    def _find(self, key: str) -> _Blob:
        blob = self._blobs.get(validate_key(key))
        if blob is None:
            raise BlobNotFound(key)
        return blob
