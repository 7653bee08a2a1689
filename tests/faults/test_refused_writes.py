"""A write that the store refuses for good fails its stage with that cause, instead of being repeated."""

from collections.abc import Sequence

import pytest

from engine import Ready, Suspended
from engine.domain.errors import StoreBehind, StoreError, StoreUnavailable
from engine.domain.lifecycle import JobStatus, RunStatus, StageStatus
from engine.kernel import StagePollSuspended
from engine.ports.changes import Changes, Refused, StageUpdate, Written
from engine.ports.job_transport import JobNotification
from engine.ports.persistence import Decision, LockedRun, Persistence
from tests.kernel.bench import Bench
from tests.kernel.ports import WrappedPersistence
from tests.kernel.stores import MakeBench
from tests.kernel.workflows import AnyStage, batch_stage, boom, pipeline, stage

REFUSAL = StoreError("the database answered: index row size 6056 exceeds btree version 4 maximum 2704")


class Refusing(WrappedPersistence):
    """Refuses every write that sets a stage to one of `statuses`."""

    def __init__(self, inner: Persistence, *statuses: StageStatus, error: StoreError = REFUSAL) -> None:
        super().__init__(inner)
        self.statuses, self.error = statuses or (StageStatus.COMPLETED,), error

    def write(self, changes: Changes) -> Written | Refused:
        self._check(changes)
        return super().write(changes)

    def decide(
        self, run_id: str, decision: Decision, *, job_id: str | None = None, whole: bool = False
    ) -> Written | Refused:
        def checked(locked: LockedRun) -> Changes | Refused:
            decided = decision(locked)
            if isinstance(decided, Changes):
                self._check(decided)
            return decided

        return super().decide(run_id, checked, job_id=job_id, whole=whole)

    def _check(self, changes: Changes) -> None:
        updates = (write for write in changes.writes if isinstance(write, StageUpdate))
        if any(update.set.get("status") in self.statuses for update in updates):
            raise self.error


def fails_with_the_refusal(bench: Bench, run_id: str) -> None:
    run, job = bench.run_of(run_id), bench.job(run_id)
    assert (run.status, bench.stage(run_id).status, job.status) == (
        RunStatus.FAILED,
        StageStatus.FAILED,
        JobStatus.FAILED,
    )
    assert (run.failure_code, run.failure_message) == ("STORE_ERROR", f"StoreError: {REFUSAL}")
    assert job.attempt == 1


@pytest.mark.parametrize(
    "group", [stage(), [stage(), stage("b")]], ids=["in one round trip", "in two, with the whole run"]
)
def test_a_refused_outcome_fails_the_stage(
    make_bench: MakeBench, persistence: Persistence, group: AnyStage | Sequence[AnyStage]
) -> None:
    bench = make_bench(pipeline(group), persistence=Refusing(persistence))
    run_id = bench.create()
    while bench.run_of(run_id).status is RunStatus.RUNNING:
        assert bench.host.process_available_jobs().processed
    fails_with_the_refusal(bench, run_id)


def test_a_refused_suspension_fails_the_stage(make_bench: MakeBench, persistence: Persistence) -> None:
    waits = batch_stage(lambda _state, _ctx: Ready(1), body=lambda _ctx: Suspended("batch"))
    bench = make_bench(pipeline(waits), persistence=Refusing(persistence, StageStatus.SUSPENDED))
    run_id = bench.create()
    bench.host.process_available_jobs()
    fails_with_the_refusal(bench, run_id)


def test_a_refused_answer_of_a_poll_fails_the_stage(make_bench: MakeBench, persistence: Persistence) -> None:
    bench = make_bench(pipeline(batch_stage(lambda _state, _ctx: Ready(1))), persistence=Refusing(persistence))
    run_id = bench.create()
    bench.work(run_id)
    bench.clock.advance(60)
    poll = StagePollSuspended(stage_record_id=bench.stage(run_id).id, workflow_run_id=run_id)
    assert bench.dispatch(poll).failed == 1
    fails_with_the_refusal(bench, run_id)


def test_a_store_that_refuses_also_the_failure_says_so(make_bench: MakeBench, persistence: Persistence) -> None:
    refusing = Refusing(persistence, StageStatus.COMPLETED, StageStatus.FAILED)
    bench = make_bench(pipeline(stage(body=boom)), persistence=refusing)
    run_id = bench.create()
    attempt = bench.start(run_id)
    refusing.statuses = (*refusing.statuses, StageStatus.PENDING)
    with pytest.raises(StoreError, match="index row size"):
        bench.finish(attempt)
    assert bench.job(run_id).status is JobStatus.RUNNING


@pytest.mark.parametrize("error", [StoreUnavailable("away"), StoreBehind("migrate first")])
def test_a_store_that_may_recover_leaves_the_stage_running(
    make_bench: MakeBench, persistence: Persistence, error: StoreError
) -> None:
    bench = make_bench(pipeline(stage()), persistence=Refusing(persistence, error=error))
    run_id = bench.create()
    attempt = bench.start(run_id)
    with pytest.raises(type(error), match=str(error)):
        bench.finish(attempt)
    assert bench.job(run_id).status is JobStatus.RUNNING


def no_queue(_jobs: Sequence[JobNotification]) -> None:
    raise StoreError("the queue does not exist")


def test_an_error_after_the_commit_is_raised_and_changes_nothing(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make_bench(pipeline(stage(), stage("b")))
    run_id = bench.create()
    attempt = bench.start(run_id)
    monkeypatch.setattr(bench.queue, "notify", no_queue)
    with pytest.raises(StoreError, match="queue"):
        bench.finish(attempt)
    assert bench.statuses(run_id) == {"a": StageStatus.COMPLETED, "b": StageStatus.PENDING}


def test_an_error_after_the_commit_of_a_poll_is_raised(make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = make_bench(pipeline(batch_stage(lambda _state, _ctx: Ready(1)), stage("b")))
    run_id = bench.create()
    bench.work(run_id)
    bench.clock.advance(60)
    monkeypatch.setattr(bench.queue, "notify", no_queue)
    with pytest.raises(StoreError, match="queue"):
        bench.dispatch(StagePollSuspended(stage_record_id=bench.stage(run_id).id, workflow_run_id=run_id))
    assert bench.statuses(run_id)["a"] is StageStatus.COMPLETED
