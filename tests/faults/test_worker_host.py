import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import Pipe
from typing import Any

import pytest

from engine import StageContext
from engine.domain.errors import EngineError, StoreUnavailable
from engine.domain.lifecycle import JobStatus, RunStatus, StageStatus
from engine.hosts import HostOptions, WorkerHost
from engine.hosts.child import Idle
from engine.hosts.job_runner import JobReport
from engine.hosts.process_slots import ProcessSlot
from engine.hosts.slots import SlotConfig
from engine.ports.persistence import Claim, ClaimRequest, NoClaim, Persistence
from tests.kernel.bench import Bench
from tests.kernel.ports import WrappedPersistence
from tests.kernel.stores import MakeBench, in_databases
from tests.kernel.workflows import pipeline, stage

SECONDS = 20.0


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        threading.Event().wait(0.005)


@contextmanager
def working(bench: Bench, **options: Any) -> Iterator[WorkerHost]:
    host = WorkerHost(
        bench.kernel, notifications=bench.queue, timers=bench.timers, worker_id="host", options=HostOptions(**options)
    )
    host.start()
    try:
        yield host
    finally:
        host.stop(SECONDS)


class Gate:
    """A body that runs until it is released."""

    def __init__(self) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()
        self.told_to_stop = False

    def __call__(self, ctx: StageContext[Any, Any]) -> str:
        self.entered.set()
        while not self.opened.wait(0.005):
            self.told_to_stop = ctx.cancelled
            ctx.raise_if_cancelled()
        return "done"


@pytest.mark.failure(26)
def test_a_graceful_stop_lets_the_job_in_flight_end(make_bench: MakeBench) -> None:
    """The worker takes no other job, not even the next stage of the run."""
    gate = Gate()
    bench = make_bench(pipeline(stage(body=gate), stage("b")))
    run_id = bench.create()
    with working(bench) as host:
        assert gate.entered.wait(SECONDS)
        stopped: list[bool] = []
        stopper = threading.Thread(target=lambda: stopped.append(host.stop(SECONDS)))
        stopper.start()
        until(lambda: not host.get_stats().is_running)
        gate.opened.set()
        stopper.join(SECONDS)
    assert stopped == [True]
    assert bench.statuses(run_id) == {"a": StageStatus.COMPLETED, "b": StageStatus.PENDING}
    assert bench.job(run_id, "b").attempt == 0


@pytest.mark.failure(26)
def test_a_job_that_does_not_end_in_time_is_released_at_once(make_bench: MakeBench) -> None:
    """Its attempt is uncounted, its late result is a ghost, and another worker goes on."""
    gate = Gate()
    bench = make_bench(pipeline(stage(body=gate)))
    run_id = bench.create()
    with working(bench) as host:
        assert gate.entered.wait(SECONDS)
        assert host.stop(grace=0) is False
        assert gate.told_to_stop
    job = bench.job(run_id)
    assert (job.status, job.attempt, job.max_attempts, job.worker_id) == (JobStatus.PENDING, 1, 4, None)
    assert bench.told(run_id).count("stage:completed") == 0
    gate.opened.set()
    bench.work()
    assert bench.run_of(run_id).status is RunStatus.COMPLETED


class FailsOnce(WrappedPersistence):
    """The first claim fails."""

    def __init__(self, inner: Persistence) -> None:
        super().__init__(inner)
        self.failed = threading.Event()

    def claim(self, request: ClaimRequest) -> Claim | NoClaim:
        if not self.failed.is_set():
            self.failed.set()
            raise StoreUnavailable("the database restarts")
        return super().claim(request)


@pytest.mark.failure(26)
@in_databases
def test_one_failing_dequeue_does_not_idle_the_worker(
    make_bench: MakeBench, persistence: Persistence, caplog: pytest.LogCaptureFixture
) -> None:
    """The worker retries after a tenth of a second, and logs the error and the recovery."""
    flaky = FailsOnce(persistence)
    bench = make_bench(pipeline(stage()), persistence=flaky)
    run_id = bench.create()
    began = time.monotonic()
    with caplog.at_level(logging.WARNING, "engine.hosts"), working(bench, job_poll=60, orchestration=60):
        until(lambda: bench.run_of(run_id).status is RunStatus.COMPLETED)
    assert time.monotonic() - began < 3
    said = [record.message for record in caplog.records if "host.1" in record.message]
    assert [line.split(": ")[1] for line in said] == ["StoreUnavailable", "works again"]


@pytest.mark.failure(72)
@pytest.mark.parametrize("word", [Idle(), JobReport(workflow_run_id="r", outcome="completed")])
def test_a_child_that_works_ends_the_backoff_of_its_slot(
    make_bench: MakeBench, word: object, caplog: pytest.LogCaptureFixture
) -> None:
    bench = make_bench(pipeline(stage()))
    config = SlotConfig(pools=("default",), options=HostOptions(), on_report=lambda _report: None)
    slot = ProcessSlot(bench.kernel, bench.queue, "w", config, lambda *_ports: bench.kernel)
    slot.backoff.failed(RuntimeError("its process died"))
    ours, theirs = Pipe()
    theirs.send(word)
    caplog.clear()
    with caplog.at_level(logging.WARNING, "engine.hosts"):
        assert slot.receive(ours) == word
    assert caplog.messages == ["worker w: works again"]


@pytest.mark.failure(94)
def test_a_host_can_be_started_once(make_bench: MakeBench) -> None:
    with working(make_bench(pipeline(stage()))) as host, pytest.raises(EngineError, match="make a new one"):
        host.start()


@pytest.mark.failure(28)
def test_a_host_that_works_publishes_the_events_too(make_bench: MakeBench) -> None:
    """Events are published after the job, before the next tick."""
    bench = make_bench(pipeline(stage(), stage("b")))
    with working(bench, job_poll=60, orchestration=60):
        run_id = bench.create()
        until(lambda: "workflow:completed" in bench.events.types())
    assert bench.events.types() == bench.told(run_id)
    assert bench.run_of(run_id).status is RunStatus.COMPLETED
