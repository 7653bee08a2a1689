"""An unavailable store and code that cannot be loaded delay a run, and do not fail it."""

import asyncio
import threading
from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest

from engine import Ready, StageContext
from engine.domain.errors import SettingsError, StoreUnavailable
from engine.domain.lifecycle import JobStatus, RunStatus, StageStatus
from engine.domain.values import Json
from engine.execution.perform import MOST_MESSAGE, MOST_TRACE
from engine.kernel import JobExecute
from engine.kernel.commands import StagePollSuspended
from engine.ports.blob_store import BlobInfo
from engine.testing import InMemoryBlobStore
from engine.transitions.release_job import MAX_UNCOUNTED_ATTEMPTS
from tests.kernel.bench import Bench
from tests.kernel.stores import MakeBench
from tests.kernel.workflows import ONCE, batch_stage, pipeline, stage

LARGE = "x" * 10_000


class Away(InMemoryBlobStore):
    away = False

    def put(self, key: str, value: Json) -> BlobInfo:
        if self.away:
            raise StoreUnavailable("no blobs")
        return super().put(key, value)


def break_code(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_workflow_id: str) -> None:
        raise SettingsError("workflow 'w' cannot be loaded")

    monkeypatch.setattr(bench.workflows, "get_workflow", broken)


@pytest.mark.parametrize("what", ["store", "code"])
def test_a_job_that_cannot_be_worked_on_is_released_uncounted_and_done_later(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    blobs = Away()
    bench = make_bench(pipeline(stage(body=lambda _: LARGE, retry=ONCE)), blob_store=blobs)
    run_id = bench.create()
    with monkeypatch.context() as patched:
        blobs.away = what == "store"
        if what == "code":
            break_code(bench, patched)
        assert bench.host.process_available_jobs().processed == 1
    blobs.away = False
    job = bench.job(run_id)
    assert (job.status, job.attempt, job.max_attempts) == (JobStatus.PENDING, 1, 2)
    assert job.last_error in {"StoreUnavailable: no blobs", "SettingsError: workflow 'w' cannot be loaded"}
    assert bench.host.process_available_jobs().processed == 0, "not at once"
    bench.clock.advance(5)
    assert [wake["type"] for wake in bench.wakes()] == ["run.reconcile"]
    bench.host.process_available_jobs()
    assert bench.run_of(run_id).status is RunStatus.COMPLETED
    assert "stage:failed" not in bench.told(run_id)


def test_a_job_that_can_never_be_done_is_tried_for_an_hour_and_then_says_why(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make_bench(pipeline(stage(retry=ONCE)))
    run_id = bench.create()
    began, times = bench.clock.now(), list[datetime]()
    break_code(bench, monkeypatch)
    while bench.run_of(run_id).status is RunStatus.RUNNING:
        assert len(times) < MAX_UNCOUNTED_ATTEMPTS + 1
        times.append(bench.clock.now())
        assert bench.host.process_available_jobs().processed == 1
        bench.clock.advance(max(0.0, (bench.job(run_id).due_at - bench.clock.now()).total_seconds()))
    waits = [(later - before).total_seconds() for before, later in pairwise(times)]
    assert waits[:7] == [5, 10, 20, 40, 80, 160, 300]
    assert (times[-1] - began).total_seconds() > 3600
    run = bench.run_of(run_id)
    assert run.failure_code == "LEASE_EXPIRED"
    assert "released its lease (SettingsError: workflow 'w' cannot be loaded)" in str(run.failure_message)


def test_a_job_executed_by_command_is_released_at_once(make_bench: MakeBench) -> None:
    blobs = Away()
    bench = make_bench(pipeline(stage(body=lambda _: LARGE)), blob_store=blobs)
    run_id = bench.create()
    blobs.away = True
    with pytest.raises(StoreUnavailable):
        bench.dispatch(JobExecute(workflow_run_id=run_id, workflow_id="w", stage_id="a"))
    blobs.away = False
    assert bench.job(run_id).status is JobStatus.PENDING
    bench.work()
    assert bench.run_of(run_id).status is RunStatus.COMPLETED


@pytest.mark.parametrize("what", ["store", "code"])
def test_a_poll_is_made_again(make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    blobs = Away()
    bench = make_bench(pipeline(batch_stage(lambda _state, _ctx: Ready(LARGE))), blob_store=blobs)
    run_id = bench.create()
    bench.work(run_id)
    bench.clock.advance(60)
    poll = StagePollSuspended(stage_record_id=bench.stage(run_id).id, workflow_run_id=run_id)
    with monkeypatch.context() as patched:
        blobs.away = what == "store"
        if what == "code":
            break_code(bench, patched)
        with pytest.raises((StoreUnavailable, SettingsError)):
            bench.dispatch(poll)
    blobs.away = False
    assert bench.stage(run_id).status is StageStatus.SUSPENDED
    bench.clock.advance(300)
    assert bench.dispatch(poll).resumed == 1


class Fatal(BaseException):
    """Not an `Exception`."""


async def cancels_itself(_ctx: StageContext[Any, Any]) -> None:
    task = asyncio.create_task(asyncio.sleep(10))
    task.cancel()
    await task


def raising(error: BaseException) -> Callable[[StageContext[Any, Any]], object]:
    def body(_ctx: StageContext[Any, Any]) -> object:
        raise error

    return body


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (raising(SystemExit(3)), "SystemExit: 3"),
        (raising(KeyboardInterrupt()), "KeyboardInterrupt: "),
        (raising(GeneratorExit()), "GeneratorExit: "),
        (raising(Fatal("end")), "Fatal: end"),
        (cancels_itself, "CancelledError: "),
    ],
)
def test_whatever_a_body_raises_is_its_outcome(make_bench: MakeBench, body: Any, said: str) -> None:
    bench = make_bench(pipeline(stage(body=body, retry=ONCE)))
    run_id = bench.create()
    worker = threading.Thread(target=bench.work)
    worker.start()
    worker.join()
    assert bench.run_of(run_id).failure_message == said


def test_ctrl_c_is_for_the_process() -> None:
    bench = Bench(pipeline(stage(body=raising(KeyboardInterrupt()))))
    bench.create()
    with pytest.raises(KeyboardInterrupt):
        bench.work()


def test_what_an_error_says_is_kept_within_bounds(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage(body=raising(ValueError("x" * 3_000_000)), retry=ONCE)))
    run_id = bench.create()
    bench.work()
    message = str(bench.run_of(run_id).failure_message)
    assert message.startswith("ValueError: xxx")
    assert message.endswith("… (3,000,012 characters)")
    assert len(message) < MOST_MESSAGE + 50
    (log,) = [log for log in bench.reads.logs(run_id) if log.metadata and "trace" in log.metadata]
    assert log.metadata is not None
    assert len(log.metadata["trace"]) < MOST_TRACE + 50
