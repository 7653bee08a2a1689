from collections.abc import Callable
from functools import partial

import pytest

from engine.domain.errors import RerunRefused, StaleVersionError
from engine.domain.lifecycle import OPEN_STAGES, RunStatus, StageStatus
from engine.kernel import LeaseReapStale, RunCancel, RunRerunFrom
from engine.ports.persistence import NoClaim
from engine.testing.contracts.threads import together
from engine.transitions.facts import Completed, Failed, Ghost
from tests.kernel.bench import Bench
from tests.kernel.ports import Meanwhile
from tests.kernel.stores import MakeBench, in_databases
from tests.kernel.workflows import ONCE, Counted, Flaky, boom, pipeline, stage

ROUNDS = 12


def lose_lease(bench: Bench) -> None:
    bench.clock.advance(301)
    assert bench.dispatch(LeaseReapStale()).released == 1


@pytest.mark.failure(7)
@pytest.mark.parametrize("late", ["before", "after"])
def test_a_worker_that_lost_its_lease_cannot_commit(make_bench: MakeBench, late: str) -> None:
    """It may come back before or after the new attempt has finished."""
    bench = make_bench(pipeline(stage(body=lambda ctx: ctx.attempt)))
    run_id = bench.create()
    old = bench.start(worker="zombie")
    result = bench.perform(old)
    lose_lease(bench)
    new = bench.start(worker="healthy")
    if late == "before":
        assert isinstance(bench.finish(old, result).outcome, Ghost)
        bench.finish(new)
    else:
        bench.finish(new)
        assert isinstance(bench.finish(old, result).outcome, Ghost)
    assert bench.told(run_id).count("stage:completed") == 1
    assert bench.output(run_id) == 2


@pytest.mark.failure(7)
@pytest.mark.parametrize("ending", ["fails", "beats"])
def test_nothing_a_zombie_does_touches_the_new_attempt(make_bench: MakeBench, ending: str) -> None:
    """Neither its failure nor its heartbeat is written."""
    bench = make_bench(pipeline(stage()))
    run_id = bench.create("w", "in")
    old = bench.start(worker="zombie")
    lose_lease(bench)
    new = bench.start(worker="healthy")
    before = bench.reads.run(run_id)
    if ending == "fails":
        assert isinstance(bench.finish(old, Failed(code="X", message="late")).outcome, Ghost)
    else:
        old.recorder.progress(0.9)
        assert bench.beat(old) == "LOST"
        assert old.cancellation.cancelled
    assert bench.reads.run(run_id) == before
    bench.finish(new)
    assert bench.run_of(run_id).status is RunStatus.COMPLETED


@pytest.mark.failure(7)
@pytest.mark.parametrize("outcome", [None, Failed(code="X", message="late", retry_in=9.0)], ids=["done", "failed"])
def test_a_zombie_cannot_commit_while_its_job_waits_for_the_next_worker(
    make_bench: MakeBench, outcome: Failed | None
) -> None:
    """The release of the lease removes the token; it does not wait for the next claim."""
    bench = make_bench(pipeline(stage()))
    run_id = bench.create()
    old = bench.start()
    lose_lease(bench)
    assert isinstance(bench.finish(old, outcome).outcome, Ghost)
    assert bench.statuses(run_id) == {"a": StageStatus.PENDING}


@pytest.mark.failure(7)
def test_a_lease_renewed_at_the_last_moment_is_not_taken(make_bench: MakeBench) -> None:
    """The reaper's write checks again that the lease has expired."""
    workflow = pipeline(stage())
    bench = make_bench(workflow)
    meanwhile = Meanwhile(bench.persistence)
    reaper = make_bench(workflow, persistence=meanwhile)
    bench.create()
    attempt = bench.start()
    bench.clock.advance(301)
    meanwhile.do = lambda: bench.beat(attempt)
    assert reaper.dispatch(LeaseReapStale()).released == 0
    assert not isinstance(bench.finish(attempt).outcome, Ghost)


@pytest.mark.failure(8)
def test_an_error_does_not_outlive_a_success(make_bench: MakeBench) -> None:
    """After a retry the stage has no error, and its job counts the attempts."""
    bench = make_bench(pipeline(stage(body=Flaky(2))))
    run_id = bench.create()
    bench.work()
    assert bench.stage(run_id).error_message == "ValueError: boom 1"
    bench.run_to_completion(run_id)
    ended = bench.stage(run_id)
    assert (ended.status, ended.error_code, ended.error_message) == (StageStatus.COMPLETED, None, None)
    assert bench.job(run_id).attempt == 3


@pytest.mark.failure(19)
@in_databases
@pytest.mark.parametrize("groups", [1, 2])
def test_a_cancel_and_a_finish_never_both_count(make_bench: MakeBench, groups: int) -> None:
    """The first of the two decides, and no event of the stage follows a cancellation."""
    workflow = pipeline(*[stage(name) for name in "ab"[:groups]])
    finisher, canceller = make_bench(workflow), make_bench(workflow)
    for _ in range(ROUNDS):
        run_id = finisher.create()
        attempt = finisher.start(run_id)
        outcome = finisher.perform(attempt)
        works: list[Callable[[], object]] = [
            partial(finisher.finish, attempt, outcome),
            partial(canceller.dispatch, RunCancel(workflow_run_id=run_id)),
        ]
        together(works)
        told, status = finisher.told(run_id), finisher.run_of(run_id).status
        assert told[-1] == f"workflow:{status.lower()}"
        ended = groups == 1 and "stage:completed" in told
        assert status is (RunStatus.COMPLETED if ended else RunStatus.CANCELLED)
        assert not OPEN_STAGES & set(finisher.statuses(run_id).values())


@pytest.mark.failure(19)
def test_a_stage_that_ends_after_the_cancellation_leaves_no_trace(make_bench: MakeBench) -> None:
    """Its outcome, events and annotations are not written."""
    bench = make_bench(pipeline(stage(body=lambda ctx: ctx.annotate("key", "value"))))
    run_id = bench.create()
    attempt = bench.start()
    outcome = bench.perform(attempt)
    assert bench.dispatch(RunCancel(workflow_run_id=run_id, reason="enough")).cancelled
    before = bench.reads.run(run_id)
    assert isinstance(bench.finish(attempt, outcome).outcome, Ghost)
    assert bench.reads.run(run_id) == before
    assert before.run.status is RunStatus.CANCELLED
    assert bench.told(run_id)[-1] == "workflow:cancelled"
    assert list(bench.annotations.list(run_id)) == []


@pytest.mark.failure(19)
def test_a_completed_run_is_neither_cancelled_nor_begun_again_unasked(make_bench: MakeBench) -> None:
    """A run emits one terminal event."""
    bench = make_bench(pipeline(stage()))
    run_id = bench.run("w").run.id
    assert not bench.dispatch(RunCancel(workflow_run_id=run_id)).cancelled
    assert bench.told(run_id).count("workflow:completed") == 1
    assert "workflow:cancelled" not in bench.told(run_id)


@pytest.mark.failure(19)
def test_a_cancel_that_finds_the_run_ended_says_so(make_bench: MakeBench) -> None:
    """The run ends between the cancel's read and its write."""
    workflow = pipeline(stage())
    bench = make_bench(workflow)
    meanwhile = Meanwhile(bench.persistence)
    run_id = bench.create()
    meanwhile.do = bench.work
    assert not make_bench(workflow, persistence=meanwhile).dispatch(RunCancel(workflow_run_id=run_id)).cancelled
    assert (bench.run_of(run_id).status, bench.told(run_id)[-1]) == (RunStatus.COMPLETED, "workflow:completed")


@pytest.mark.failure(20)
@in_databases
def test_of_two_reruns_at_once_one_happens(make_bench: MakeBench) -> None:
    """The stage runs once, for the rerun that won."""
    body = Counted()
    benches = [make_bench(pipeline(stage(body=body))) for _ in range(3)]
    run_id = benches[0].run("w").run.id

    def rerun(bench: Bench) -> bool:
        try:
            bench.dispatch(RunRerunFrom(workflow_run_id=run_id, from_stage_id="a"))
        except (RerunRefused, StaleVersionError):
            return False
        return True

    assert sum(together([partial(rerun, bench) for bench in benches])) == 1
    benches[0].run_to_completion(run_id)
    assert body.calls == 2
    assert benches[0].told(run_id).count("workflow:started") == 2


def test_a_rerun_of_a_run_that_was_rerun_and_ended_meanwhile_is_refused(make_bench: MakeBench) -> None:
    good = make_bench(pipeline(stage()))
    meanwhile = Meanwhile(good.persistence)
    late = make_bench(pipeline(stage()), persistence=meanwhile)
    run_id = good.run("w", 1).run.id
    command = RunRerunFrom(workflow_run_id=run_id, from_stage_id="a")

    def rerun_to_completion() -> None:
        good.dispatch(command)
        good.run_to_completion(run_id)

    meanwhile.do = rerun_to_completion
    with pytest.raises(StaleVersionError):
        late.dispatch(command)
    assert (good.stage(run_id).generation, good.run_of(run_id).status) == (1, RunStatus.COMPLETED)


@pytest.mark.failure(20)
def test_a_rerun_leaves_no_second_job_for_the_same_stage(make_bench: MakeBench) -> None:
    """Jobs queued for the failed run do not run beside the new ones."""
    sibling = Counted()
    bench = make_bench(pipeline([stage("a", Flaky(1), retry=ONCE), stage("b", sibling)]))
    run_id = bench.create()
    old = list(bench.reads.run(run_id).jobs)
    bench.finish(bench.start(job_id=bench.job(run_id, "a").id))
    assert bench.run_of(run_id).status is RunStatus.FAILED
    bench.dispatch(RunRerunFrom(workflow_run_id=run_id, from_stage_id="a"))
    assert [bench.deliver(job).outcome for job in old] == ["ghost", "ghost"]
    bench.run_to_completion(run_id)
    assert [bench.deliver(job).outcome for job in bench.reads.run(run_id).jobs] == ["ghost"] * 4
    assert sibling.calls == 1


@pytest.mark.failure(20)
def test_an_attempt_of_the_old_generation_cannot_commit_into_the_new_one(make_bench: MakeBench) -> None:
    """A sibling that still ran when the run failed finishes after the rerun."""
    bench = make_bench(pipeline([stage("a", boom, retry=ONCE), stage("b", lambda ctx: ctx.generation)]))
    run_id = bench.create()
    slow = bench.start(job_id=bench.job(run_id, "b").id)
    outcome = bench.perform(slow)
    assert isinstance(outcome, Completed)
    bench.finish(bench.start(job_id=bench.job(run_id, "a").id))
    bench.clock.advance(301)
    bench.dispatch(LeaseReapStale())
    assert bench.run_of(run_id).status is RunStatus.FAILED
    bench.dispatch(RunRerunFrom(workflow_run_id=run_id, from_stage_id="a"))
    assert isinstance(bench.finish(slow, outcome).outcome, Ghost)
    assert bench.statuses(run_id) == {"a": StageStatus.PENDING, "b": StageStatus.PENDING}
    assert isinstance(bench.try_start(job_id=slow.claim.job.id), NoClaim)
