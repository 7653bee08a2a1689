"""A wake-up is scheduled before the commit that needs it. A commit that comes later than it needs another one."""

from datetime import datetime

import pytest

from engine import NotReady, Suspended
from engine.domain.lifecycle import JobStatus
from engine.kernel import StagePollSuspended
from engine.kernel.host_commands import JobRelease
from engine.testing import FakeClock, InMemoryPersistence
from tests.kernel.bench import Bench
from tests.kernel.ports import Meanwhile
from tests.kernel.workflows import STEADY, AnyStage, batch_stage, boom, pipeline, stage

SLOW = 100.0
"""Seconds that a commit takes, during which its wake-up arrives and finds nothing."""


def late(bench: Bench) -> None:
    bench.clock.advance(SLOW)
    bench.wakes()


def opened(stage_of_a: AnyStage) -> tuple[Bench, Meanwhile]:
    clock = FakeClock()
    store = Meanwhile(InMemoryPersistence(clock))
    return Bench(pipeline(stage_of_a), clock=clock, persistence=store), store


def next_wake(bench: Bench) -> datetime | None:
    return bench.timers.next_at()


@pytest.mark.parametrize(
    "stage_of_a",
    [
        stage("a", boom, retry=STEADY),
        batch_stage(lambda _state, _ctx: None, "a", lambda _ctx: Suspended("batch", poll_interval=60)),
    ],
    ids=["retry", "suspension"],
)
def test_a_finish_that_commits_after_its_wake_up_schedules_another(stage_of_a: AnyStage) -> None:
    bench, store = opened(stage_of_a)
    run_id = bench.create()
    attempt = bench.start(run_id)
    outcome = bench.perform(attempt)
    store.do = lambda: late(bench)
    bench.finish(attempt, outcome)
    due = bench.stage(run_id).next_poll_at or bench.job(run_id).due_at
    assert next_wake(bench) == due


def test_a_poll_that_commits_after_its_wake_up_schedules_another() -> None:
    waits = batch_stage(lambda _state, _ctx: NotReady(10), "a", lambda _ctx: Suspended("batch", poll_interval=10))
    bench, store = opened(waits)
    run_id = bench.create()
    bench.work(run_id)
    bench.clock.advance(10)
    store.do = lambda: late(bench)
    bench.dispatch(StagePollSuspended(stage_record_id=bench.stage(run_id).id, workflow_run_id=run_id))
    assert next_wake(bench) == bench.stage(run_id).next_poll_at


def test_a_release_that_commits_after_its_wake_up_schedules_another() -> None:
    bench, store = opened(stage("a"))
    run_id = bench.create()
    attempt = bench.start(run_id)
    store.do = lambda: late(bench)
    assert bench.dispatch(JobRelease(attempt=attempt, seconds=5.0))
    assert bench.job(run_id).status is JobStatus.PENDING
    assert next_wake(bench) == bench.job(run_id).due_at
