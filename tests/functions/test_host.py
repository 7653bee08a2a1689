"""What a host owes a queue: no message is acknowledged while its run has something due that nobody has armed."""

from datetime import datetime, timedelta

import pytest

from engine import Ready
from engine.domain.errors import StoreUnavailable
from engine.domain.lifecycle import Status
from engine.hosts.serverless import JobMessage, OutOfTime, ServerlessHost
from engine.kernel import StagePollSuspended
from engine.ports.persistence import Persistence
from engine.ports.transaction import Tx
from engine.ports.write_set import Applied, WriteSet
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

    def apply(self, write_set: WriteSet) -> Applied:
        if self.is_away:
            raise StoreUnavailable("away")
        return super().apply(write_set)


def suspended(bench: Bench) -> StagePollSuspended:
    """The wake of a stage that is due."""
    run_id = bench.create()
    bench.work(run_id)
    bench.clock.advance(60)
    return StagePollSuspended(stage_record_id=bench.stage(run_id).id, workflow_run_id=run_id, max_checks=1)


def wakes(bench: Bench) -> list[datetime]:
    """When polls are armed for, those taken before left out."""
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
    assert bench.run_of(wake.workflow_run_id).status is Status.COMPLETED
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
