from collections.abc import Sequence
from functools import partial

import pytest

from engine.domain.errors import StoreUnavailable
from engine.domain.lifecycle import ENDED_RUNS, RunStatus
from engine.kernel import RunCancel, RunClaimPending, RunReapStuck, RunReconcile, RunRerunFrom, StagePollSuspended
from engine.ports.changes import Changes, Refused, Written
from engine.ports.job_transport import JobNotification
from engine.ports.persistence import Persistence
from engine.testing import FakeClock, FixedIds
from engine.testing.contracts.threads import together
from tests.kernel.bench import Bench
from tests.kernel.ports import WrappedPersistence
from tests.kernel.stores import MakeBench, in_databases, in_memory, open_store
from tests.kernel.workflows import Counted, batch_stage, pipeline, stage


@pytest.mark.failure(1)
def test_a_notification_answered_at_once_finds_its_run_running(make_bench: MakeBench) -> None:
    """Jobs commit with the run, and notifications follow the commit."""
    bench = make_bench(pipeline(stage(), stage("b")))
    answers: list[str] = []

    def answer(notifications: Sequence[JobNotification]) -> None:
        answers.extend(bench.deliver(notification).outcome for notification in notifications)

    bench.queue.add_listener(answer)
    runs = [bench.create("w", 1), bench.create_pending("w", 2)]
    bench.dispatch(RunClaimPending(worker_id="w"))
    assert answers == ["completed", "completed"]
    assert [bench.run_of(run_id).status for run_id in runs] == [RunStatus.COMPLETED] * 2


@pytest.mark.failure(1)
@in_databases
def test_no_fast_worker_discards_a_job_as_a_ghost(make_bench: MakeBench) -> None:
    """Several workers claim runs and dequeue jobs without a pause."""
    body = Counted()
    benches = [make_bench(pipeline(stage(body=body))) for _ in range(4)]
    runs = [benches[0].create_pending() for _ in range(24)]

    def claim(bench: Bench) -> None:
        while bench.dispatch(RunClaimPending(worker_id="w", max_claims=2)).claimed:
            bench.host.process_available_jobs(max_jobs=2)

    together([partial(claim, bench) for bench in benches])
    for bench in benches:
        bench.host.process_available_jobs(max_jobs=100)
    assert [benches[0].run_of(run_id).status for run_id in runs] == [RunStatus.COMPLETED] * len(runs)
    assert body.calls == len(runs)


class PlannedIds(FixedIds):
    """Gives the ids in `coming` first, where they are not None."""

    def __init__(self) -> None:
        super().__init__()
        self.coming: list[str | None] = []

    def new(self) -> str:
        planned = self.coming.pop(0) if self.coming else None
        return planned or super().new()


@pytest.mark.failure(12)
def test_a_run_the_database_refuses_does_not_spoil_the_batch(make_bench: MakeBench) -> None:
    """Each run has its own transaction; the run that fails leaves no rows and names its error."""
    ids = PlannedIds()
    bench = make_bench(pipeline(stage()), pipeline([stage(), stage("b")], workflow_id="bad"), ids=ids)
    taken = bench.job(bench.create("w", 1)).id
    runs = [bench.create_pending(name, 1) for name in ("w", "bad", "w")]
    again = [None, None, taken, None]  # ids of two stages and two jobs, one of which cannot be inserted
    ids.coming = [None, None, *again, *again]  # after the stage and job of the first run; tried twice
    claimed = bench.dispatch(RunClaimPending(worker_id="w")).claimed
    assert [each.workflow_run_id for each in claimed] == [runs[0], runs[2]]
    failed = bench.reads.run(runs[1])
    assert (failed.run.status, failed.run.failure_code) == (RunStatus.FAILED, "CLAIM_FAILED")
    assert (list(failed.stages), list(failed.jobs)) == ([], [])
    assert bench.told(runs[1]) == ["workflow:created", "workflow:failed"]


@pytest.mark.failure(17)
@in_databases
def test_every_command_works_on_one_connection(store_url: str, clock: FakeClock, make_bench: MakeBench) -> None:
    """No command holds a connection while it asks for another."""
    persistence = open_store(store_url, clock, pool_size=1)
    waits = batch_stage(lambda _state, _ctx: None, "waits")
    benches = [make_bench(pipeline(stage(), [stage("b"), waits]), persistence=persistence) for _ in range(3)]

    def use(bench: Bench) -> None:
        run_id = bench.create_pending("w", 1, idempotency_key=f"key {id(bench)}")
        bench.dispatch(RunClaimPending(worker_id="w"))
        bench.dispatch(RunReconcile(workflow_run_id=run_id))
        bench.host.process_available_jobs(max_jobs=10)
        bench.annotations.attach(run_id, attributes={"k": 1}, emit_event=True)
        bench.dispatch(RunReapStuck())
        bench.tick()
        bench.dispatch(RunCancel(workflow_run_id=run_id))

    together([partial(use, bench) for bench in benches])
    bench, run_id = benches[0], benches[0].create("w", 1)
    bench.host.process_available_jobs(max_jobs=10)
    clock.advance(61)
    assert bench.dispatch(StagePollSuspended()).failed == 1
    bench.dispatch(RunRerunFrom(workflow_run_id=run_id, from_stage_id="a"))
    assert bench.reads.backlog()[0] > 0
    assert bench.publish().published > 0
    persistence.close()


class Counting(WrappedPersistence):
    """Counts transactions that change a run, and is unavailable after the last allowed one."""

    def __init__(self, inner: Persistence, last: int = 10_000) -> None:
        super().__init__(inner)
        self.last = last
        self.runs: list[str] = []

    def write(self, changes: Changes) -> Written | Refused:
        if len(self.runs) >= self.last:
            raise StoreUnavailable("the database is gone")
        self.runs.append(changes.run_id)
        return self.inner.write(changes)


@pytest.mark.failure(18)
@in_memory
def test_a_thousand_pending_runs_are_claimed_in_small_transactions(
    make_bench: MakeBench, persistence: Persistence
) -> None:
    """Each run is claimed in its own transaction, and no more runs than asked for."""
    workflow = pipeline(stage())
    creator = make_bench(workflow)
    runs = [creator.create_pending() for _ in range(1000)]
    counting = Counting(persistence)
    bench = make_bench(workflow, persistence=counting)
    for _ in range(10):
        assert len(bench.dispatch(RunClaimPending(worker_id="w", max_claims=100)).claimed) == 100
    assert sorted(counting.runs) == sorted(runs)


@pytest.mark.failure(18)
def test_a_claim_that_breaks_off_keeps_what_it_has_claimed(make_bench: MakeBench, persistence: Persistence) -> None:
    """Runs claimed before the error stay claimed; no job is without its run."""
    workflow = pipeline(stage())
    bench = make_bench(workflow)
    runs = [bench.create_pending() for _ in range(6)]
    with pytest.raises(StoreUnavailable):
        make_bench(workflow, persistence=Counting(persistence, last=4)).dispatch(RunClaimPending(worker_id="w"))
    assert [bench.run_of(run_id).status for run_id in runs] == [RunStatus.RUNNING] * 4 + [RunStatus.PENDING] * 2
    assert len(bench.reads.waiting_jobs()) == 4
    assert len(bench.dispatch(RunClaimPending(worker_id="w")).claimed) == 2
    bench.host.process_available_jobs(max_jobs=10)
    assert all(bench.run_of(run_id).status in ENDED_RUNS for run_id in runs)
