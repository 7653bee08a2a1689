from typing import Any

import pytest

from engine import Ready, StageContext, StageResult, Suspended
from engine.conventions import Actor
from engine.domain.lifecycle import JobStatus, RunStatus, StageStatus
from engine.domain.values import inline
from engine.kernel import LeaseReapStale, RunReapStuck, RunReapStuckResult, RunTransition
from engine.kernel.host_commands import LeaseState
from tests.kernel.bench import Bench
from tests.kernel.stores import MakeBench
from tests.kernel.workflows import ONCE, Body, Counted, batch_stage, pipeline, stage

STUCK = 900.0
NOBODY = RunReapStuckResult(transitioned=0, failed=0, recovered=0)


def reap(bench: Bench) -> RunReapStuckResult:
    bench.dispatch(LeaseReapStale())
    return bench.dispatch(RunReapStuck(stuck_threshold=STUCK))


@pytest.mark.failure(2)
def test_a_run_that_waits_for_its_next_poll_is_not_stuck(make_bench: MakeBench) -> None:
    """A stage is suspended for longer than the threshold, and its next poll lies ahead."""
    bench = make_bench(
        pipeline(batch_stage(lambda _state, _ctx: Ready("done"), body=lambda _ctx: Suspended("b", poll_interval=3600)))
    )
    run_id = bench.create()
    bench.work()
    bench.clock.advance(16 * 60)
    assert reap(bench) == NOBODY
    bench.clock.advance(45 * 60)
    assert reap(bench) == NOBODY
    assert bench.run_to_completion(run_id).run.status is RunStatus.COMPLETED


@pytest.mark.failure(3)
def test_a_stage_that_is_kept_alive_is_not_stuck_however_long_it_takes(make_bench: MakeBench) -> None:
    """Heartbeats keep the lease, and the result of a long stage is committed."""
    bench = make_bench(pipeline(stage()))
    run_id = bench.create("w", "long")
    attempt = bench.start()
    for _ in range(40):
        bench.clock.advance(60)
        assert bench.beat(attempt) is LeaseState.HELD
        assert reap(bench) == NOBODY
    bench.finish(attempt)
    assert (bench.run_of(run_id).status, bench.output(run_id)) == (RunStatus.COMPLETED, "long")


@pytest.mark.failure(4)
def test_a_job_that_waits_in_a_long_queue_is_not_stuck(make_bench: MakeBench) -> None:
    """A backlog of hours fails no run."""
    bench = make_bench(pipeline(stage()))
    runs = [bench.create("w", number) for number in range(3)]
    bench.clock.advance(5 * 3600)
    assert reap(bench) == NOBODY
    bench.host.process_available_jobs(max_jobs=10)
    assert [bench.run_of(run_id).status for run_id in runs] == [RunStatus.COMPLETED] * 3


@pytest.mark.failure(5)
def test_a_finish_moves_the_run_on_in_the_same_transaction(make_bench: MakeBench) -> None:
    """A process that dies after a commit leaves no transition half done."""
    bench = make_bench(pipeline(stage(), stage("b")))
    run_id = bench.create("w", 1)
    bench.work()
    assert bench.statuses(run_id) == {"a": StageStatus.COMPLETED, "b": StageStatus.PENDING}
    assert bench.job(run_id, "b").status is JobStatus.PENDING
    bench.work()
    assert bench.run_of(run_id).status is RunStatus.COMPLETED


@pytest.mark.failure(5)
@pytest.mark.parametrize("stages", [1, 2])
def test_a_run_whose_stages_are_done_is_moved_on_not_failed(make_bench: MakeBench, stages: int) -> None:
    """The rows are those of an engine that crashed between two transactions."""
    bench = make_bench(pipeline(*[stage(name) for name in "ab"[:stages]]))
    run_id = bench.create("w", 1)
    attempt = bench.start()
    at = bench.clock.now()
    bench.end_only_the_stage(
        attempt, {"status": StageStatus.COMPLETED, "output_data": inline("out"), "completed_at": at}
    )
    bench.clock.advance(STUCK + 1)
    assert reap(bench) == RunReapStuckResult(transitioned=1, failed=0, recovered=0)
    assert bench.run_to_completion(run_id).run.status is RunStatus.COMPLETED
    assert bench.output(run_id) == "out"
    assert bench.dispatch(RunTransition(workflow_run_id=run_id)).action == "noop"


@pytest.mark.failure(6)
def test_a_job_that_kills_every_worker_fails_after_its_attempts(make_bench: MakeBench) -> None:
    """The run fails with an error that names the cause."""
    bench = make_bench(pipeline(stage()))
    run_id = bench.create()
    for attempt in (1, 2, 3):
        assert bench.start().claim.job.attempt == attempt
        bench.clock.advance(301)
        reap(bench)
    run = bench.run_of(run_id)
    assert (run.status, run.failure_code) == (RunStatus.FAILED, "LEASE_EXPIRED")
    assert "attempt 3 of 3" in (run.failure_message or "")
    assert bench.told(run_id)[-2:] == ["stage:failed", "workflow:failed"]
    assert bench.host.process_available_jobs().processed == 0


HALF = "\ud800"


@pytest.mark.failure(6)
@pytest.mark.parametrize(
    ("body", "says"),
    [
        (lambda ctx: ctx.annotate("note", HALF), "surrogate"),
        (lambda ctx: ctx.annotate("note", "a\x00"), "U+0000"),
        (lambda ctx: ctx.annotate(attributes={"note": 1}, actor=Actor("user", HALF)), "surrogate"),
        (lambda _ctx: StageResult(1, custom_metrics={"m": HALF}), "surrogate"),
        (lambda _ctx: StageResult(1, artifacts={HALF: "text"}), "surrogate"),
        (lambda _ctx: StageResult(1, artifacts={"a\x00": "text"}), "U+0000"),
    ],
    ids=["annotation", "zero in an annotation", "actor", "metric", "artifact", "zero in an artifact's name"],
)
def test_what_cannot_be_stored_fails_its_stage_with_that_cause(make_bench: MakeBench, body: Body, says: str) -> None:
    """It must not kill the worker that tries to commit it, attempt after attempt."""
    counted = Counted(body)
    bench = make_bench(pipeline(stage(body=counted, retry=ONCE)))
    run_id = bench.create()
    bench.work()
    assert (bench.run_of(run_id).status, counted.calls) == (RunStatus.FAILED, 1)
    assert says in (bench.run_of(run_id).failure_message or "")


def say(ctx: StageContext[Any, Any]) -> None:
    ctx.log("INFO", HALF)
    ctx.on_progress(0.5, HALF)
    raise ValueError(f"cannot read {HALF}")


@pytest.mark.failure(6)
def test_text_that_is_no_unicode_is_repaired_where_it_is_only_said(make_bench: MakeBench) -> None:
    """Error messages, logs and progress may quote file names of any bytes."""
    bench = make_bench(pipeline(stage(body=say, retry=ONCE)))
    run_id = bench.create()
    bench.work()
    assert bench.run_of(run_id).failure_message == "ValueError: cannot read \ufffd"
    assert "\ufffd" in [line.message for line in bench.reads.logs(run_id)]


@pytest.mark.failure(5)
def test_a_stage_that_lost_its_job_gets_it_back(make_bench: MakeBench) -> None:
    """A PENDING stage without a job receives a new one instead of failing."""
    bench = make_bench(pipeline(stage()))
    run_id = bench.create("w", 1)
    bench.queue.cancel_by_run(run_id)
    bench.clock.advance(STUCK + 1)
    assert reap(bench) == RunReapStuckResult(transitioned=0, failed=0, recovered=1)
    assert bench.run_to_completion(run_id).run.status is RunStatus.COMPLETED
