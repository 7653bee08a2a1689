"""The files of one batch, and the lock that a working provider holds."""

import fcntl
import json
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, Any, Final

_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,149}")
_RETRY: Final = 0.02


class BatchState(StrEnum):
    QUEUED = "queued"
    WORKING = "working"
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStatus:
    """The progress of a batch. `error` is set when it failed."""

    state: BatchState
    done: int = 0
    total: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRequest:
    """Texts by item id, the length of the vectors, and the seconds that the batch takes.

    `fail` makes the provider fail half-way, to test failures.
    """

    texts: Mapping[str, str]
    dimensions: int
    seconds: float
    fail: bool = False


type Vectors = Mapping[str, list[float]]


@dataclass(frozen=True, slots=True)
class BatchFolder:
    """Writes a file atomically: aside first, then renamed."""

    path: Path

    @staticmethod
    def under(root: Path, batch_id: str) -> "BatchFolder":
        if not _ID.fullmatch(batch_id):
            raise ValueError(f"batch id {batch_id!r} must be letters, digits, '.', '_' and '-' only")
        return BatchFolder(root / batch_id)

    @property
    def exists(self) -> bool:
        return (self.path / "request.json").exists()

    def age(self) -> float:
        """Seconds since the request was written."""
        return time.time() - (self.path / "request.json").stat().st_mtime

    def put_request(self, request: BatchRequest) -> None:
        self._write("request.json", asdict(request))

    def request(self) -> BatchRequest:
        return BatchRequest(**self._read("request.json"))

    def put_status(self, status: BatchStatus) -> None:
        self._write("status.json", asdict(status))

    def status(self) -> BatchStatus:
        """The provider's last status; queued before it wrote one."""
        try:
            found = self._read("status.json")
        except FileNotFoundError:
            return BatchStatus(state=BatchState.QUEUED)
        return BatchStatus(**(found | {"state": BatchState(found["state"])}))

    def put_result(self, vectors: Vectors) -> None:
        self._write("result.json", vectors)

    def result(self) -> Vectors:
        vectors: Vectors = self._read("result.json")
        return vectors

    @contextmanager
    def claim(self, *, patience: float = 0.0) -> Iterator[bool]:
        """Gives True when this process holds the batch's lock for the block.

        Readers hold the lock for a moment, so a provider tries for `patience` seconds.
        """
        with (self.path / "lock").open("ab") as lock:
            yield _lock(lock, time.monotonic() + patience)

    def is_claimed(self) -> bool:
        with self.claim() as free:
            return not free

    def _read(self, name: str) -> Any:
        return json.loads((self.path / name).read_text(encoding="utf-8"))

    def _write(self, name: str, value: object) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        aside = self.path / f".{name}.{os.getpid()}.{threading.get_ident()}"
        aside.write_text(json.dumps(value), encoding="utf-8")
        aside.replace(self.path / name)


def _lock(file: IO[bytes], until: float) -> bool:
    """Closing the file unlocks it."""
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(_RETRY)
        else:
            return True
