"""Blobs as files below one directory.

The name of a blob's file ends in a suffix that no key can contain. So the keys "a" and "a/b" can both exist, and an
unfinished file is not a blob.
"""

import io
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EDQUOT, ENAMETOOLONG, ENOSPC
from pathlib import Path
from typing import BinaryIO

from engine.adapters.files.blob_file import open_content, read_info, write_blob
from engine.domain.blob_keys import is_under, validate_key
from engine.domain.errors import BlobNotFound, InvalidBlobKey, StoreError, StoreUnavailable
from engine.domain.values import CONTENT_TYPE, Json, to_document
from engine.ports.blob_store import BlobInfo

_ENDING = "%00"
_TRIES = 100


class FileBlobStore:
    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, key: str, value: Json) -> BlobInfo:
        return self.put_bytes(key, to_document(value, key), content_type=CONTENT_TYPE)

    def get(self, key: str) -> Json:
        with self.open(key) as file:
            return json.load(file)

    def put_bytes(self, key: str, data: bytes, *, content_type: str) -> BlobInfo:
        return self._write(key, io.BytesIO(data), content_type)

    def put_file(self, key: str, path: Path, *, content_type: str) -> BlobInfo:
        validate_key(key)
        with path.open("rb") as source:
            return self._write(key, source, content_type)

    def open(self, key: str) -> BinaryIO:
        with _translated(self._path(key), key):
            return open_content(self._path(key), key)

    def has(self, key: str) -> bool:
        return self._path(key).is_file()

    def delete(self, key: str) -> None:
        path = self._path(key)
        with _translated(path, key), suppress(FileNotFoundError):
            path.unlink()
            self._remove_empty(path.parent)

    def delete_prefix(self, prefix: str) -> int:
        keys = tuple(self.list(prefix))
        for key in keys:
            self.delete(key)
        return len(keys)

    def list(self, prefix: str) -> Iterator[str]:
        validate_key(prefix)
        folder_of_prefix = (self._root / prefix).parent
        files = (Path(folder, name) for folder, _, names in os.walk(folder_of_prefix) for name in names)
        keys = (str(file.relative_to(self._root)) for file in files if file.name.endswith(_ENDING))
        return iter(sorted(key for each in keys if is_under(key := each.removesuffix(_ENDING), prefix)))

    def info(self, key: str) -> BlobInfo:
        with _translated(self._path(key), key), self._path(key).open("rb") as file:
            return read_info(file, key)

    def _path(self, key: str) -> Path:
        return self._root / f"{validate_key(key)}{_ENDING}"

    def _write(self, key: str, source: BinaryIO, content_type: str) -> BlobInfo:
        path = self._path(key)
        with _translated(path, key), self._draft() as draft:
            info = write_blob(source, draft.file, key=key, content_type=content_type)
            draft.file.flush()
            os.fsync(draft.file.fileno())
            _move(Path(draft.name), path)
        return info

    def _draft(self) -> "tempfile._TemporaryFileWrapper[bytes]":
        self._root.mkdir(parents=True, exist_ok=True)
        return tempfile.NamedTemporaryFile(dir=self._root, prefix="writing-", delete_on_close=False)

    def _remove_empty(self, folder: Path) -> None:
        with suppress(OSError):
            while folder != self._root:
                folder.rmdir()
                folder = folder.parent


def _move(draft: Path, path: Path) -> None:
    """Tries again if another process deletes the empty folder between the two steps."""
    for tries_left in reversed(range(_TRIES)):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft.replace(path)
        except (FileNotFoundError, FileExistsError):
            if not tries_left:
                raise
        else:
            break
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    with suppress(FileNotFoundError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _translated(path: Path, key: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise BlobNotFound(key) from error
    except OSError as error:
        if error.errno == ENAMETOOLONG:
            raise InvalidBlobKey(f"blob key {key!r} has a segment too long for this disk; shorten it") from error
        problem = f"cannot use {str(path)!r} for blobs: {error.strerror}"
        if error.errno in {ENOSPC, EDQUOT}:
            raise StoreUnavailable(f"{problem}; free some space") from error
        raise StoreError(f"{problem}; make the directory writable for this user") from error
