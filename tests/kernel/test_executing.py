from typing import Any

import pytest

from engine import RetryPolicy, StageContext, StageResult, Suspended
from engine.domain.errors import IdempotencyConflictError, StoreUnavailable
from engine.domain.events import StageFailed
from engine.domain.lifecycle import JobStatus, RunStatus, StageStatus
from engine.domain.records import LogLevel
from engine.kernel import JobExecute, LeaseReapStale, RunCancel, RunRerunFrom
from engine.kernel.host_commands import JobRelease, JobTimeout, LeaseState
from engine.ports.persistence import NoClaim
from engine.testing import InMemoryBlobStore
from engine.transitions.facts import Failed, Ghost
from engine.transitions.release_job import MAX_UNCOUNTED_ATTEMPTS
from tests.kernel.bench import Bench
from tests.kernel.ports import Meanwhile
from tests.kernel.stores import MakeBench
from tests.kernel.workflows import ONCE, STEADY, Counted, Flaky, batch_stage, boom, pipeline, stage


def execute(bench: Bench, run_id: str, stage_id: str = "a", **fields: Any) -> Any:
    return bench.dispatch(JobExecute(workflow_run_id=run_id, workflow_id="w", stage_id=stage_id, **fields))


def test_a_stage_is_executed_and_its_run_advances(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage(), stage("b")))
    run_id = bench.create("w", 1)
    result = execute(bench, run_id)
    assert (result.outcome, result.output, result.ghost) == ("completed", 1, False)
    assert bench.statuses(run_id) == {"a": "COMPLETED", "b": "PENDING"}
    assert bench.job(run_id).status is JobStatus.COMPLETED


def test_a_completed_stage_gives_its_stored_output_without_running(make_bench: MakeBench) -> None:
    body = Counted()
    bench = make_bench(pipeline(stage(body=body), stage("b")))
    run_id = bench.create("w", 1)
    assert execute(bench, run_id) == execute(bench, run_id)
    assert body.calls == 1
    assert bench.told(run_id).count("stage:completed") == 1


@pytest.mark.parametrize("why", ["pending", "cancelled", "unknown run", "unknown stage", "other token", "other job"])
def test_an_execution_that_has_no_right_to_run_is_a_ghost(make_bench: MakeBench, why: str) -> None:
    body = Counted()
    bench = make_bench(pipeline(stage(body=body)))
    run_id = bench.create_pending() if why == "pending" else bench.create()
    fields: dict[str, Any] = {}
    match why:
        case "cancelled":
            bench.dispatch(RunCancel(workflow_run_id=run_id))
        case "unknown run":
            run_id = "nobody"
        case "unknown stage":
            fields["stage_id"] = "z"
        case "other token":
            fields["job_id"], fields["lease_token"] = bench.start().claim.job.id, "stolen"
        case "other job":
            fields["job_id"] = "other"
        case _:
            pass
    result = execute(bench, run_id, **fields)
    assert (result.outcome, result.ghost, result.retryable) == ("failed", True, False)
    assert body.calls == 0


def test_a_failure_is_stored_with_type_message_and_trace(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage(body=boom, retry=ONCE)))
    run_id = bench.create()
    result = execute(bench, run_id)
    assert (result.outcome, result.error, result.retryable) == ("failed", "ValueError: boom", False)
    failed = bench.stage(run_id)
    assert (failed.status, failed.error_message) == (StageStatus.FAILED, "ValueError: boom")
    (line,) = bench.reads.logs(run_id)
    assert line.level == "ERROR"
    assert "boom" in str((line.metadata or {})["trace"])
    assert bench.run_of(run_id).failure_message == "ValueError: boom"
    assert bench.told(run_id)[-2:] == ["stage:failed", "workflow:failed"]


class Broken(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_an_error_that_cannot_be_said_is_recorded_all_the_same(make_bench: MakeBench) -> None:
    def raises(_ctx: object) -> None:
        raise Broken

    bench = make_bench(pipeline(stage(body=raises, retry=ONCE)))
    run_id = bench.create()
    bench.work()
    assert (bench.run_of(run_id).failure_message or "").startswith("Broken: ")


def test_failures_are_retried_with_growing_waits_up_to_the_cap(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage(body=boom, retry=STEADY)))
    run_id = bench.create()
    waits = []
    for _ in range(2):
        bench.work()
        job = bench.job(run_id)
        assert (job.status, bench.statuses(run_id)) == (JobStatus.PENDING, {"a": StageStatus.FAILED})
        waits.append((job.due_at - bench.clock.now()).total_seconds())
        assert isinstance(bench.try_start(), NoClaim)
        bench.clock.advance(waits[-1])
    assert waits == [2.0, 4.0]
    bench.work()
    assert (bench.job(run_id).status, bench.run_of(run_id).status) == (JobStatus.FAILED, RunStatus.FAILED)
    failures = [event for event in bench.events_of(run_id) if isinstance(event, StageFailed)]
    assert [event.will_retry for event in failures] == [True, True, False]
    assert [each["type"] for each in bench.wakes()] == ["run.reconcile"]


@pytest.mark.parametrize("where", ["input", "output"])
def test_data_that_does_not_fit_is_never_retried(make_bench: MakeBench, where: str) -> None:
    options: dict[str, Any] = {where: int}
    bench = make_bench(pipeline(stage(body=lambda _ctx: "text", **options)))
    run_id = bench.create("w", "text")
    result = execute(bench, run_id)
    assert (result.outcome, result.retryable, bench.run_of(run_id).status) == ("failed", False, RunStatus.FAILED)
    assert bench.stage(run_id).error_code == "INVALID_STAGE_DATA"


def test_values_come_back_as_they_were_whoever_reads_them(make_bench: MakeBench) -> None:
    """jsonb would change them. A continued stage and a stage that reads its row get the same values."""
    value = {"zeta": 1.0, "a": -0.0, "much": 1e22, "deep": {"b": 1, "a": [2**70, "\u2028"]}}
    bench = make_bench(pipeline(stage(body=lambda _: value), stage("b", body=lambda ctx: repr(ctx.input))))
    run_id = bench.create("w", value)
    bench.run_to_completion(run_id)
    seen = bench.output(run_id)
    bench.dispatch(RunRerunFrom(workflow_run_id=run_id, from_stage_id="b"))
    bench.run_to_completion(run_id)
    assert seen == bench.output(run_id) == repr(value)
    assert repr(bench.reads.value(bench.run_of(run_id).input)) == repr(value)


def test_what_a_stage_says_is_committed_with_its_outcome(make_bench: MakeBench) -> None:
    def body(ctx: StageContext[Any, Any]) -> StageResult[str]:
        ctx.log.info("line", pages=3)
        ctx.on_progress(0.5, "half", {"x": 1})
        ctx.annotate("decision.outcome", "yes")
        return StageResult("out", custom_metrics={"pages": 3}, artifacts={"report.txt": "text"})

    blobs = InMemoryBlobStore()
    bench = make_bench(pipeline(stage(body=body)), blob_store=blobs)
    run_id = bench.create()
    bench.clock.advance(3)
    attempt = bench.start()
    outcome = bench.perform(attempt)
    bench.clock.advance(2)
    assert (list(bench.reads.logs(run_id)), list(bench.annotations.list(run_id))) == ([], [])
    bench.finish(attempt, outcome)
    done = bench.stage(run_id)
    assert (done.metrics, done.duration_ms, (done.progress or {})["progress"]) == ({"pages": 3}, 2000, 0.5)
    (artifact,) = bench.reads.artifacts(run_id)
    assert (artifact.name, bench.reads.open_artifact(artifact).read()) == ("report.txt", b"text")
    assert [line.message for line in bench.reads.logs(run_id)] == ["line"]
    (note,) = bench.annotations.list(run_id)
    assert (note.scope, note.scope_id, note.generation, note.stage_record_id) == ("stage", "a", 0, done.id)
    assert bench.told(run_id)[-3:] == ["stage:progress", "stage:completed", "workflow:completed"]


def test_annotations_are_kept_with_a_failure_and_dropped_with_a_ghost(make_bench: MakeBench) -> None:
    def body(ctx: StageContext[Any, Any]) -> None:
        ctx.annotate("seen", ctx.attempt)
        raise ValueError("boom")

    bench = make_bench(pipeline(stage(body=body, retry=RetryPolicy(max_attempts=2))))
    run_id = bench.create()
    ghost = bench.start()
    outcome = bench.perform(ghost)
    bench.clock.advance(301)
    bench.dispatch(LeaseReapStale())
    assert isinstance(bench.finish(ghost, outcome).outcome, Ghost)
    bench.work()
    assert [note.value for note in bench.annotations.list(run_id)] == [2]


def test_heartbeats_write_what_was_said_and_keep_the_lease(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage()))
    run_id = bench.create()
    attempt = bench.start()
    attempt.recorder.progress(0.1)
    attempt.recorder.progress(0.2, "coalesced")
    bench.clock.advance(100)
    assert bench.beat(attempt) is LeaseState.HELD
    lease_until = bench.job(run_id).lease_until
    assert lease_until is not None
    assert (lease_until - bench.clock.now()).total_seconds() == 300
    assert (bench.told(run_id).count("stage:progress"), (bench.stage(run_id).progress or {})["progress"]) == (1, 0.2)
    bench.finish(attempt)
    assert bench.told(run_id).count("stage:progress") == 1


def test_a_heartbeat_that_fails_loses_no_logs(make_bench: MakeBench) -> None:
    good = make_bench(pipeline(stage()))
    lost = Meanwhile(good.persistence)
    bench = make_bench(pipeline(stage()), persistence=lost)
    run_id = good.create("w", 1)
    attempt = bench.start()
    attempt.recorder.log(LogLevel.INFO, "said once", {})
    lost.do = lose_connection
    with pytest.raises(StoreUnavailable):
        bench.beat(attempt)
    assert not attempt.cancellation.cancelled
    assert bench.beat(attempt) is LeaseState.HELD
    bench.finish(attempt)
    assert [log.message for log in bench.reads.logs(run_id)].count("said once") == 1


def lose_connection() -> None:
    raise StoreUnavailable("lost")


def test_a_heartbeat_brings_the_cancellation_to_the_body(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage()))
    run_id = bench.create()
    attempt = bench.start()
    bench.dispatch(RunCancel(workflow_run_id=run_id))
    assert bench.beat(attempt) is LeaseState.CANCELLED
    assert attempt.cancellation.cancelled


def test_a_failure_for_good_cancels_waiting_siblings_and_stops_running_ones(make_bench: MakeBench) -> None:
    bench = make_bench(
        pipeline([stage("a", boom, retry=ONCE), stage("b"), stage("c"), batch_stage(lambda _s, _c: None, "d")])
    )
    run_id = bench.create()
    running = bench.start(job_id=bench.job(run_id, "b").id)
    bench.finish(bench.start(job_id=bench.job(run_id, "d").id))
    bench.finish(bench.start(job_id=bench.job(run_id, "a").id))
    assert bench.statuses(run_id) == {"a": "FAILED", "b": "RUNNING", "c": "CANCELLED", "d": "CANCELLED"}
    assert bench.run_of(run_id).status is RunStatus.RUNNING
    assert bench.beat(running) is LeaseState.CANCELLED
    bench.finish(running)
    run = bench.run_of(run_id)
    assert (run.status, run.failure_message) == (RunStatus.FAILED, "ValueError: boom")
    assert bench.told(run_id)[-2:] == ["stage:completed", "workflow:failed"]


@pytest.mark.parametrize("ending", ["fails", "suspends", "lost"])
def test_a_failing_run_ends_with_its_first_error_however_its_siblings_end(make_bench: MakeBench, ending: str) -> None:
    def sibling(_ctx: object) -> Any:
        if ending == "suspends":
            return Suspended("b")
        raise ValueError("later")

    bench = make_bench(pipeline([stage("a", boom, retry=ONCE), batch_stage(lambda _s, _c: None, "b", sibling)]))
    run_id = bench.create()
    running = bench.start(job_id=bench.job(run_id, "b").id)
    bench.finish(bench.start(job_id=bench.job(run_id, "a").id))
    if ending == "lost":
        bench.clock.advance(301)
        bench.dispatch(LeaseReapStale())
    else:
        bench.finish(running)
    run = bench.run_of(run_id)
    assert (run.status, run.failure_message, run.group_open) == (RunStatus.FAILED, "ValueError: boom", 0)
    assert bench.told(run_id).count("workflow:failed") == 1


def test_a_job_that_was_released_is_not_counted_and_starts_at_once(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage()))
    run_id = bench.create()
    attempt = bench.start()
    assert bench.dispatch(JobRelease(attempt=attempt))
    assert not bench.dispatch(JobRelease(attempt=attempt))
    assert isinstance(bench.finish(attempt).outcome, Ghost)
    assert bench.job(run_id).status is JobStatus.PENDING
    again = bench.start().claim.job
    assert (again.attempt, again.max_attempts) == (2, attempt.claim.job.max_attempts + 1)


def test_a_job_that_is_released_for_ever_ends(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage()))
    run_id = bench.create()
    for _ in range(MAX_UNCOUNTED_ATTEMPTS + 10):
        attempt = bench.try_start()
        if not isinstance(attempt, NoClaim):
            bench.dispatch(JobRelease(attempt=attempt))
    assert bench.run_of(run_id).failure_code == "LEASE_EXPIRED"
    assert bench.job(run_id).attempt == MAX_UNCOUNTED_ATTEMPTS + 2, "what its retries still allow"


def test_a_body_past_its_time_fails_and_its_late_result_is_a_ghost(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage(retry=RetryPolicy(max_attempts=1))))
    run_id = bench.create()
    attempt = bench.start()
    timeout = JobTimeout(workflow_run_id=run_id, job_id=attempt.claim.job.id, lease_token=attempt.token, seconds=30)
    assert bench.dispatch(timeout)
    assert not bench.dispatch(timeout)
    assert isinstance(bench.finish(attempt).outcome, Ghost)
    assert bench.stage(run_id).error_message == "StageTimeout: stage 'a' ran longer than its 30 s"
    assert bench.run_of(run_id).failure_code == "STAGE_TIMEOUT"


def test_the_same_finish_again_changes_nothing(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage(), stage("b")))
    run_id = bench.create("w", 1)
    attempt = bench.start()
    outcome = bench.perform(attempt)
    bench.finish(attempt, outcome)
    before = bench.reads.run(run_id)
    assert not isinstance(bench.finish(attempt, outcome).outcome, Ghost)
    assert bench.reads.run(run_id) == before
    assert bench.told(run_id).count("stage:completed") == 1


def test_the_outcome_of_a_retried_finish_cannot_be_another(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage()))
    run_id = bench.create("w", 1)
    attempt = bench.start()
    bench.finish(attempt)
    assert isinstance(bench.finish(attempt, Failed(code="X", message="late")).outcome, Ghost)
    assert bench.run_of(run_id).status is RunStatus.COMPLETED


def test_a_callers_key_gives_the_stored_result_again(make_bench: MakeBench) -> None:
    body = Counted()
    bench = make_bench(pipeline(stage(body=body), stage("b")))
    run_id = bench.create("w", 1)
    first = execute(bench, run_id, idempotency_key="k")
    assert execute(bench, run_id, idempotency_key="k") == first
    assert body.calls == 1
    with pytest.raises(IdempotencyConflictError):
        execute(bench, run_id, stage_id="b", idempotency_key="k")


def test_failures_and_ghosts_free_the_callers_key(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage(body=Flaky(1), retry=STEADY)))
    run_id = bench.create("w", 1)
    assert execute(bench, run_id, idempotency_key="k").retryable
    assert execute(bench, run_id, idempotency_key="k").ghost
    bench.clock.advance(2)
    assert execute(bench, run_id, idempotency_key="k").outcome == "completed"


def test_a_key_belongs_to_its_tenant(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage()))
    runs = [bench.create("w", tenant, tenant=tenant) for tenant in ("t1", "t2")]
    assert [execute(bench, run_id, idempotency_key="k").output for run_id in runs] == ["t1", "t2"]
