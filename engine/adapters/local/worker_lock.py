"""Locks of worker processes, which show the workers of this machine that are dead.

A POSIX record lock belongs to one process, is not inherited by its children, and ends with its process. So if a lock
file can be locked, its worker is dead.
"""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from engine.domain.errors import StoreError

SUFFIX = ".lock"


class WorkerLock:
    """The lock of a worker, from `acquire` to `release` or the end of the process."""

    def __init__(self, folder: Path, worker_id: str) -> None:
        self._path = folder / f"{worker_id}{SUFFIX}"
        self._file: int | None = None

    def acquire(self) -> Self:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
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

    def __enter__(self) -> Self:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def dead_workers(folder: Path, *, own: frozenset[str] = frozenset()) -> list[str]:
    """Workers whose lock file exists and is not locked. `own`: workers of this process; a check would unlock them."""
    found = sorted(path for path in folder.glob(f"*{SUFFIX}") if path.name.removesuffix(SUFFIX) not in own)
    return [path.name.removesuffix(SUFFIX) for path in found if _is_free(path)]


def forget(folder: Path, worker_id: str) -> None:
    """Removes the lock file of a dead worker, after the release of its leases."""
    with suppress(FileNotFoundError):
        (folder / f"{worker_id}{SUFFIX}").unlink()


def _is_free(path: Path) -> bool:
    try:
        file = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(file)
