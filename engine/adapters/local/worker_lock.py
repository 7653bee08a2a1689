"""Locks of worker processes, which show the workers of this machine that are dead.

A POSIX record lock belongs to one process, is not inherited by its children, and ends with its process. So if a lock
file can be locked, its worker is dead.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from engine.domain.errors import StoreError

SUFFIX = ".lock"

_HELD: set[Path] = set()
"""Lock files of this process. To open and close one would end its lock."""


class WorkerLock:
    """The lock of a worker, from `acquire` to `release` or the end of the process."""

    def __init__(self, folder: Path, worker_id: str) -> None:
        self._path = folder / f"{worker_id}{SUFFIX}"
        self._file: int | None = None

    def acquire(self) -> Self:
        """Raises `StoreError` if another process holds the lock. One that releases old leases holds it for a moment."""
        _HELD.add(self._path)
        try:
            self._path.parents[1].mkdir(mode=0o700, parents=True, exist_ok=True)  # the engine's home
            self._path.parent.mkdir(exist_ok=True)
            while self._file is None:
                self._file = _opened_and_locked(self._path, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            _HELD.discard(self._path)
            raise StoreError(
                f"cannot lock {str(self._path)!r} ({error.strerror}); choose a writable folder with --home"
            ) from error
        return self

    def release(self) -> None:
        if self._file is not None:
            with suppress(FileNotFoundError):
                self._path.unlink()
            os.close(self._file)
            self._file = None
            _HELD.discard(self._path)

    def __enter__(self) -> Self:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


@contextmanager
def dead_workers(folder: Path) -> Iterator[list[str]]:
    """The workers whose lock file exists and was not locked.

    The race: a dead worker is replaced by one of the same id, whose new leases must not be released with the old ones.
    So the files stay locked during the `with` block, which releases the leases. They are removed at its end, unless it
    raises.
    """
    locked = {path: file for path in sorted(folder.glob(f"*{SUFFIX}")) if (file := _locked(path)) is not None}
    try:
        yield [path.name.removesuffix(SUFFIX) for path in locked]
        for path in locked:
            with suppress(FileNotFoundError):
                path.unlink()
    finally:
        for file in locked.values():
            os.close(file)


def _locked(path: Path) -> int | None:
    """The file, locked; None if its worker lives."""
    if path in _HELD:
        return None
    try:
        return _opened_and_locked(path, os.O_RDWR)
    except OSError:
        return None


def _opened_and_locked(path: Path, flags: int) -> int | None:
    """None when the file was removed between opening and locking it. Raises `OSError` when it is locked."""
    file = os.open(path, flags, 0o600)
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_there = _is_at(path, file)
    except OSError:
        os.close(file)
        raise
    if not is_there:
        os.close(file)
    return file if is_there else None


def _is_at(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file))
    except FileNotFoundError:
        return False
