"""A blob and its metadata in one file, so that one rename replaces both.

content · {"size": …, "sha256": …, "content_type": …} · length of that JSON in 8 hexadecimal digits
"""

import hashlib
import io
import json
import os
from collections.abc import Buffer
from pathlib import Path
from typing import IO, BinaryIO, cast, override

from engine.ports.blob_store import BlobInfo

_LENGTH_DIGITS = 8
_CHUNK = 1 << 20


def write_blob(source: BinaryIO, target: IO[bytes], *, key: str, content_type: str) -> BlobInfo:
    digest, size = hashlib.sha256(), 0
    while chunk := source.read(_CHUNK):
        digest.update(chunk)
        size += target.write(chunk)
    info = BlobInfo(key=key, size=size, sha256=digest.hexdigest(), content_type=content_type)
    about = json.dumps({"size": size, "sha256": info.sha256, "content_type": content_type}).encode()
    target.write(about + f"{len(about):0{_LENGTH_DIGITS}x}".encode())
    return info


def read_info(file: BinaryIO, key: str) -> BlobInfo:
    end = file.seek(-_LENGTH_DIGITS, os.SEEK_END)
    length = int(file.read(_LENGTH_DIGITS), 16)
    file.seek(end - length)
    return BlobInfo(key=key, **json.loads(file.read(length)))


def open_content(path: Path, key: str) -> BinaryIO:
    file = path.open("rb", buffering=0)
    return cast(BinaryIO, io.BufferedReader(_Content(file, read_info(cast(BinaryIO, file), key).size)))


class _Content(io.RawIOBase):
    """The content of a blob: the first `size` bytes of its file."""

    def __init__(self, file: io.FileIO, size: int) -> None:
        self._file, self._size = file, size
        self._file.seek(0)

    @override
    def readable(self) -> bool:
        return True

    @override
    def seekable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: Buffer, /) -> int | None:
        left = max(0, self._size - self._file.tell())
        return self._file.readinto(memoryview(buffer)[:left])

    @override
    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._file.tell(), os.SEEK_END: self._size}[whence]
        return self._file.seek(base + offset)

    @override
    def close(self) -> None:
        self._file.close()
        super().close()
