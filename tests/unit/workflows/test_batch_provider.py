"""The simulated provider: real processes, real files."""

import fcntl
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from functions.workflows.batch_provider.batch_folder import BatchFolder, BatchRequest, BatchState, BatchStatus
from functions.workflows.batch_provider.client import fetch, poll, submit
from functions.workflows.batch_provider.feature_hashing import embed
from functions.workflows.batch_provider.provider import serve

REQUEST = BatchRequest(texts={"a": "The tide turns.", "b": "The barge leaves."}, dimensions=8, seconds=0.3)
SUBMIT_AND_DIE = """
import os, signal, sys
from pathlib import Path
from functions.workflows.batch_provider.batch_folder import BatchRequest
from functions.workflows.batch_provider.client import submit
submit(Path(sys.argv[1]), "night", BatchRequest(texts={"a": "The tide turns."}, dimensions=8, seconds=1.5))
os.killpg(os.getpgrp(), signal.SIGKILL)
"""


def wait_for(root: Path, batch_id: str, *states: BatchState, within: float = 30.0) -> BatchStatus:
    deadline = time.monotonic() + within
    while (status := poll(root, batch_id)).state not in states:
        assert time.monotonic() < deadline, status
        time.sleep(0.02)
    return status


def providers(root: Path) -> list[int]:
    """Process ids of the providers at work below this root."""
    found = []
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if os.fsencode(root) in command.read_bytes().split(b"\0"):
                found.append(int(command.parent.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


@contextmanager
def at_work_on(folder: BatchFolder) -> Iterator[None]:
    """As if another process had claimed the batch."""
    with (folder.path / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def test_a_batch_is_worked_on_and_answered(tmp_path: Path) -> None:
    submit(tmp_path, "night", REQUEST)
    assert wait_for(tmp_path, "night", BatchState.COMPLETED).done == 2
    assert fetch(tmp_path, "night") == {item: embed(text, 8) for item, text in REQUEST.texts.items()}


def test_the_provider_outlives_a_submitter_killed_with_its_group_and_then_ends_by_itself(tmp_path: Path) -> None:
    submitter = subprocess.run(
        [sys.executable, "-c", SUBMIT_AND_DIE, str(tmp_path)], check=False, start_new_session=True
    )
    assert submitter.returncode == -signal.SIGKILL
    wait_for(tmp_path, "night", BatchState.WORKING)
    wait_for(tmp_path, "night", BatchState.COMPLETED)
    deadline = time.monotonic() + 10
    while providers(tmp_path):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_submitting_again_starts_nothing_while_the_batch_is_worked_on_or_done(tmp_path: Path) -> None:
    submit(tmp_path, "night", REQUEST)
    wait_for(tmp_path, "night", BatchState.WORKING, BatchState.COMPLETED)
    submit(tmp_path, "night", REQUEST)
    wait_for(tmp_path, "night", BatchState.COMPLETED)
    before = (tmp_path / "night" / "result.json").stat().st_mtime_ns
    submit(tmp_path, "night", REQUEST)
    assert (tmp_path / "night" / "result.json").stat().st_mtime_ns == before
    assert len(providers(tmp_path)) <= 1


def test_a_submitter_that_died_before_it_started_the_provider_submits_again(tmp_path: Path) -> None:
    BatchFolder.under(tmp_path, "night").put_request(REQUEST)
    assert poll(tmp_path, "night").state is BatchState.QUEUED
    submit(tmp_path, "night", REQUEST)
    wait_for(tmp_path, "night", BatchState.COMPLETED)


def test_a_second_provider_leaves_the_batch_to_the_first(tmp_path: Path) -> None:
    folder = BatchFolder.under(tmp_path, "night")
    folder.put_request(REQUEST)
    with at_work_on(folder):
        serve(folder)
    assert folder.status().state is BatchState.QUEUED


def test_a_provider_told_to_fail_says_why(tmp_path: Path) -> None:
    folder = BatchFolder.under(tmp_path, "night")
    folder.put_request(BatchRequest(texts=REQUEST.texts, dimensions=8, seconds=0.0, fail=True))
    serve(folder)
    assert poll(tmp_path, "night").error == "the provider gave up after 0 of 2 items, as it was told to"


def test_a_provider_that_was_killed_counts_as_failed(tmp_path: Path) -> None:
    submit(tmp_path, "night", BatchRequest(texts=REQUEST.texts, dimensions=8, seconds=30.0))
    wait_for(tmp_path, "night", BatchState.WORKING)
    for process in providers(tmp_path):
        os.kill(process, signal.SIGKILL)
    status = wait_for(tmp_path, "night", BatchState.FAILED)
    assert status.error == "the provider of batch 'night' ended without a result"


def test_a_provider_that_never_comes_counts_as_failed(tmp_path: Path) -> None:
    folder = BatchFolder.under(tmp_path, "night")
    folder.put_request(REQUEST)
    os.utime(folder.path / "request.json", (0, 0))
    assert "did not start within 60 s" in poll(tmp_path, "night").error


def test_an_unknown_batch_counts_as_failed(tmp_path: Path) -> None:
    assert poll(tmp_path, "nowhere").error == "the provider knows no batch 'nowhere'"


@pytest.mark.parametrize("batch_id", ["../up", "", ".hidden", "a/b", "a" * 200])
def test_a_batch_id_cannot_leave_the_folder(tmp_path: Path, batch_id: str) -> None:
    with pytest.raises(ValueError, match="batch id"):
        BatchFolder.under(tmp_path, batch_id)


def test_old_batches_are_forgotten_except_the_youngest_fifty_and_those_at_work(tmp_path: Path) -> None:
    for number in range(60):
        folder = BatchFolder.under(tmp_path, f"old-{number:02}")
        folder.put_request(REQUEST)
        os.utime(folder.path / "request.json", (number, number))
    with at_work_on(BatchFolder.under(tmp_path, "old-00")):
        submit(tmp_path, "new", REQUEST)
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == ["new", "old-00", *(f"old-{number}" for number in range(10, 60))]
    wait_for(tmp_path, "new", BatchState.COMPLETED)


def test_vectors_have_length_one_and_like_texts_are_alike() -> None:
    barge, boat, other = (embed(text, 64) for text in ("the barge leaves", "the barge waits", "biofouling hurts"))
    assert math.hypot(*barge) == pytest.approx(1, abs=1e-5)
    assert sum(map(math.prod, zip(barge, boat, strict=True))) > sum(map(math.prod, zip(barge, other, strict=True)))
    assert embed("a b", 4) == [0.0] * 4
