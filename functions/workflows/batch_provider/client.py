"""The client of the provider: submit, poll, fetch."""

import shutil
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

from functions.workflows.batch_provider.batch_folder import (
    BatchFolder,
    BatchRequest,
    BatchState,
    BatchStatus,
    Vectors,
)

_IMPORT_ROOT: Final = Path(__file__).parents[3]
_STARTS_WITHIN: Final = 60.0
_KEPT: Final = 50
_KEPT_FOR: Final = 3_600.0


def submit(root: Path, batch_id: str, request: BatchRequest) -> None:
    """Starts the batch. A repeated call with the same id has no further effect, so a caller that crashed calls it
    again."""
    folder = BatchFolder.under(root, batch_id)
    if not folder.exists:
        _forget_old_batches(root)
        folder.put_request(request)
    if folder.status().state in {BatchState.QUEUED, BatchState.WORKING} and not folder.is_claimed():
        _start_provider(root, batch_id)


def poll(root: Path, batch_id: str) -> BatchStatus:
    """The progress of the batch. A provider that died or never started is a failure."""
    folder = BatchFolder.under(root, batch_id)
    if not folder.exists:
        return BatchStatus(state=BatchState.FAILED, error=f"the provider knows no batch {batch_id!r}")
    # The lock is read before the status: a provider that ends in between has written its last status by then.
    at_work = folder.is_claimed()
    status = folder.status()
    lost = status.state is BatchState.WORKING and not at_work
    never_came = status.state is BatchState.QUEUED and not at_work and folder.age() > _STARTS_WITHIN
    if lost or never_came:
        what = "ended without a result" if lost else f"did not start within {_STARTS_WITHIN:.0f} s"
        return BatchStatus(state=BatchState.FAILED, error=f"the provider of batch {batch_id!r} {what}")
    return status


def fetch(root: Path, batch_id: str) -> Vectors:
    """The vectors of a completed batch, by item id."""
    return BatchFolder.under(root, batch_id).result()


def _start_provider(root: Path, batch_id: str) -> None:
    """Starts the provider in its own session: neither Ctrl-C nor the end of this process stops it."""
    with (root / batch_id / "provider.log").open("ab") as log:
        provider = subprocess.Popen(
            [sys.executable, "-m", "functions.workflows.batch_provider", str(root), batch_id],
            cwd=_IMPORT_ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    # Reaps the process if it ends before this one.
    threading.Thread(target=provider.wait, name=f"reap {batch_id}", daemon=True).start()


def _forget_old_batches(root: Path) -> None:
    """Deletes idle batches that are over an hour old, except the 50 youngest."""
    idle: list[tuple[float, Path]] = []
    for request in root.glob("*/request.json"):
        folder = BatchFolder(request.parent)
        # Another process may delete it too.
        with suppress(FileNotFoundError):
            if (age := folder.age()) > _KEPT_FOR and not folder.is_claimed():
                idle.append((age, folder.path))
    for _, path in sorted(idle)[_KEPT:]:
        shutil.rmtree(path, ignore_errors=True)
