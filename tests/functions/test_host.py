"""A host acknowledges no message while its run has something due without a scheduled wake-up."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from engine import Ready, StageContext
from engine.domain.errors import StoreUnavailable
from engine.domain.lifecycle import JobStatus, RunStatus, StageStatus
from engine.hosts.options import HostOptions
from engine.hosts.serverless import JobMessage, OutOfTime, ServerlessHost
from engine.kernel import StagePollSuspended
from engine.kernel.kernel import Kernel
from engine.ports.changes import Changes, Refused, Written
from engine.ports.persistence import Decision, Persistence
from engine.ports.transaction import Tx
from engine.testing import FakeClock, InMemoryPersistence
from tests.kernel.bench import Bench
from tests.kernel.ports import WrappedPersistence
from tests.kernel.workflows import batch_stage, echo, pipeline, stage

waiting = pipeline(batch_stage(lambda _state, _ctx: Ready("done")))


class Away(WrappedPersistence):
    """Takes no more changes once it is told to."""

    def __init__(self, inner: Persistence) -> None:
        super().__init__(inner)
        self.is_away = False

    def write(self, changes: Changes) -> Written | Refused:
        self._check()
        return super().write(changes)

    def decide(self, run_id: str, decision: Decision, **options: Any) -> Written | Refused:
        self._check()
        return super().decide(run_id, decision, **options)

    def _check(self) -> None:
        if self.is_away:
            raise StoreUnavailable("away")


def suspended(bench: Bench) -> StagePollSuspended:
    """The wake-up of a stage that is due."""
    run_id = bench.create()
    bench.work(run_id)
    bench.clock.advance(60)
    return StagePollSuspended(stage_record_id=bench.stage(run_id).id, workflow_run_id=run_id, max_checks=1)


def wakes(bench: Bench) -> list[datetime]:
    """The times of wake-ups scheduled since the last call."""
    times = []
    while (at := bench.timers.next_at()) is not None:
        times += [at for command in bench.timers.take_due(at) if command["type"] == "stage.pollSuspended"]
    return times


def test_a_wake_whose_poll_could_not_be_committed_raises() -> None:
    clock = FakeClock()
    store = Away(InMemoryPersistence(clock))
    bench = Bench(waiting, clock=clock, persistence=store)
    wake = suspended(bench)
    store.is_away = True
    with pytest.raises(StoreUnavailable):
        bench.dispatch(wake)
    assert bench.dispatch(StagePollSuspended()).resumed == 0, "among others it waits for the next sweep"


def test_a_poll_that_another_holds_is_looked_at_again_when_its_claim_ends() -> None:
    bench = Bench(waiting)
    wake = suspended(bench)
    now = bench.clock.now()
    until = now + timedelta(minutes=5)

    def claim_for_another(tx: Tx) -> object:
        assert wake.stage_record_id is not None
        return tx.stages.claim_poll(wake.stage_record_id, token="another", now=now, until=until)

    assert bench.persistence.transact(claim_for_another)
    wakes(bench)
    assert bench.dispatch(wake).checked == 0
    assert wakes(bench) == [until]


def test_the_wake_that_ends_a_run_publishes_its_events() -> None:
    bench = Bench(waiting)
    wake = suspended(bench)
    assert wake.workflow_run_id is not None
    bench.host.handle_wake(wake.model_dump(mode="json"))
    assert bench.run_of(wake.workflow_run_id).status is RunStatus.COMPLETED
    assert "workflow:completed" in [event.type for event in bench.events.events]


def test_the_first_message_gets_the_time_there_is_and_a_later_one_another_invocation() -> None:
    bench = Bench(pipeline(stage("a", echo, timeout=60)))
    host = ServerlessHost(bench.kernel, worker_id="w", time_left=lambda: 30.0)
    messages = [message_of(bench) for _ in range(2)]
    assert host.handle_job(messages[0]).outcome == "completed"
    with pytest.raises(OutOfTime):
        host.handle_job(messages[1])
    assert bench.job(messages[1].workflow_run_id).attempt == 0


def message_of(bench: Bench) -> JobMessage:
    job = bench.job(bench.create())
    return JobMessage(job_id=job.id, workflow_run_id=job.workflow_run_id, workflow_id="w", stage_id=job.stage_id)


class Slow:
    """A body that runs until it is told to end, and signals its start."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()

    def __call__(self, ctx: StageContext[Any, Any]) -> object:
        self.begun.set()
        assert self.go_on.wait(30)
        return ctx.input


class Invocation:
    """A host whose pool has a timeout of 100 seconds, and whose time left is `left`."""

    def __init__(self, bench: Bench, left: float) -> None:
        self.left, self.abandoned = left, threading.Event()
        self.host = ServerlessHost(
            Kernel(replace(bench.kernel.deps, pool_timeouts={"default": 100.0})),
            worker_id="w",
            time_left=lambda: self.left,
            options=HostOptions(flush=0.01),
            on_abandoned=self.abandoned.set,
        )


@pytest.mark.parametrize(("left", "done"), [(55, ["a", "b"]), (54, ["a"])])
def test_a_stage_without_its_own_timeout_continues_with_half_of_the_pools(left: float, done: list[str]) -> None:
    bench = Bench(pipeline(stage("a", echo), stage("b", echo)))
    message = message_of(bench)
    assert Invocation(bench, left).host.handle_job(message).outcome == "completed"
    statuses = bench.statuses(message.workflow_run_id)
    assert [each for each, status in statuses.items() if status is StageStatus.COMPLETED] == done


def test_a_lease_is_released_when_only_the_reserve_is_left() -> None:
    slow = Slow()
    bench = Bench(pipeline(stage("a", echo), stage("b", slow)))
    message, invocation = message_of(bench), Invocation(bench, 60)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(invocation.host.handle_job, message)
        assert slow.begun.wait(10)
        invocation.left = 4.9
        assert invocation.abandoned.wait(10)
        assert bench.job(message.workflow_run_id, "b").status is JobStatus.PENDING
        slow.go_on.set()
        assert first.result().outcome == "ghost", "a late result of a job that is another's"
    assert Invocation(bench, 100).host.process_available_jobs().succeeded == 1
    again = bench.job(message.workflow_run_id, "b")
    assert (again.attempt, again.max_attempts) == (2, 4)
    assert bench.run_of(message.workflow_run_id).status is RunStatus.COMPLETED
