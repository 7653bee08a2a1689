from typing import Any

import pytest

from engine import StageContext
from engine.domain.errors import IdempotencyConflictError, InvalidInput, NotFound, RerunRefused, UnknownStage
from engine.domain.lifecycle import JobStatus, RunStatus, StageStatus
from engine.domain.values import inline
from engine.kernel import RunCancel, RunRerunFrom, RunTransition
from engine.ports.changes import RunUpdate, StagePatch
from engine.testing import InMemoryBlobStore
from engine.transitions.facts import Ghost
from tests.kernel.bench import Bench
from tests.kernel.ports import Meanwhile
from tests.kernel.stores import MakeBench
from tests.kernel.workflows import ONCE, Counted, Flaky, batch_stage, boom, pipeline, stage


def cancel(bench: Bench, run_id: str) -> bool:
    return bench.dispatch(RunCancel(workflow_run_id=run_id, reason="why not")).cancelled


def rerun(bench: Bench, run_id: str, stage_id: str, **fields: Any) -> Any:
    return bench.dispatch(RunRerunFrom(workflow_run_id=run_id, from_stage_id=stage_id, **fields))


@pytest.mark.parametrize("state", ["pending", "queued", "running", "suspended", "waiting for a retry"])
def test_everything_open_is_cancelled_with_its_run(make_bench: MakeBench, state: str) -> None:
    first = {"suspended": batch_stage(lambda _s, _c: None), "waiting for a retry": stage(body=boom)}.get(state, stage())
    bench = make_bench(pipeline(first))
    run_id = bench.create_pending() if state == "pending" else bench.create()
    match state:
        case "running":
            bench.start()
        case "suspended" | "waiting for a retry":
            bench.work()
        case _:
            pass
    assert cancel(bench, run_id)
    view = bench.reads.run(run_id)
    assert view.run.status is RunStatus.CANCELLED
    assert view.run.completed_at == bench.clock.now()
    assert {each.status for each in view.stages} <= {StageStatus.CANCELLED, StageStatus.FAILED}
    assert {job.status for job in view.jobs} <= {JobStatus.CANCELLED}
    assert bench.last_event(run_id, "workflow:cancelled").reason == "why not"
    assert bench.told(run_id)[-1] == "workflow:cancelled"


def test_what_has_ended_or_does_not_exist_is_not_cancelled(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage(body=Flaky(1), retry=ONCE)))
    failed, completed, cancelled = bench.run("w").run.id, bench.run("w").run.id, bench.create()
    assert cancel(bench, cancelled)
    before = [bench.reads.run(run_id) for run_id in (failed, completed, cancelled)]
    assert not any(cancel(bench, run_id) for run_id in (failed, completed, cancelled, "nobody"))
    assert [bench.reads.run(run_id) for run_id in (failed, completed, cancelled)] == before


def test_a_completed_stage_stays_completed_when_its_run_is_cancelled(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage(), stage("b")))
    run_id = bench.create("w", 1)
    bench.work()
    cancel(bench, run_id)
    assert bench.statuses(run_id) == {"a": "COMPLETED", "b": "CANCELLED"}


def test_a_rerun_resets_the_run_and_counts_a_new_generation(make_bench: MakeBench) -> None:
    bench = make_bench(
        pipeline(stage(), stage("b", lambda ctx: ctx.generation), stage("c", lambda ctx: ctx.generation))
    )
    run_id = bench.run("w", "in").run.id
    result = rerun(bench, run_id, "b")
    assert (result.workflow_run_id, result.from_stage_id, result.deleted_stages) == (run_id, "b", ("b", "c"))
    run = bench.run_of(run_id)
    assert (run.status, run.output, run.completed_at, run.duration_ms) == (RunStatus.RUNNING, None, None, None)
    assert bench.statuses(run_id) == {"a": "COMPLETED", "b": "PENDING"}
    assert bench.last_event(run_id, "workflow:started").from_stage_id == "b"
    bench.run_to_completion(run_id)
    assert (bench.output(run_id), bench.stage(run_id, "b").generation, bench.stage(run_id, "c").generation) == (1, 1, 1)
    rerun(bench, run_id, "c")
    bench.run_to_completion(run_id)
    rerun(bench, run_id, "b")
    bench.run_to_completion(run_id)
    assert (bench.output(run_id), bench.stage(run_id, "b").generation, bench.stage(run_id, "a").generation) == (3, 3, 0)


def test_a_failed_run_is_rerun_from_the_stage_that_failed(make_bench: MakeBench) -> None:
    first = Counted()
    bench = make_bench(pipeline(stage("a", first), stage("b", Flaky(1), retry=ONCE)))
    run_id = bench.run("w", 1).run.id
    assert bench.run_of(run_id).failure_code == "STAGE_FAILED"
    rerun(bench, run_id, "b")
    assert (bench.run_of(run_id).failure_code, bench.run_of(run_id).failure_message) == (None, None)
    assert bench.run_to_completion(run_id).run.status is RunStatus.COMPLETED
    assert first.calls == 1


def test_a_rerun_keeps_what_the_run_has_cost(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage()))
    run_id = bench.run("w").run.id

    bench.force(RunUpdate(ids=(run_id,), add={"total_cost": 3, "total_tokens": 5}))
    rerun(bench, run_id, "a")
    assert (bench.run_of(run_id).total_cost, bench.run_of(run_id).total_tokens) == (3.0, 5)


@pytest.mark.parametrize("override", ["other", {"large": "x" * 9000}])
def test_an_override_replaces_the_targets_input_only(make_bench: MakeBench, override: object) -> None:
    blobs = InMemoryBlobStore()
    bench = make_bench(pipeline(stage("a"), [stage("b"), stage("c")]), blob_store=blobs)
    run_id = bench.run("w", "in").run.id
    rerun(bench, run_id, "b", input_override=override)
    bench.run_to_completion(run_id)
    assert bench.output(run_id) == {"b": override, "c": "in"}


def test_an_override_that_does_not_fit_is_refused(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage(input=int)))
    run_id = bench.run("w", 1).run.id
    before = bench.reads.run(run_id)
    with pytest.raises(InvalidInput, match="input_override"):
        rerun(bench, run_id, "a", input_override="text")
    assert bench.reads.run(run_id) == before


def test_a_cancelled_run_can_be_rerun(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage(), stage("b")))
    run_id = bench.create("w", 1)
    bench.work()
    late = bench.start()
    cancel(bench, run_id)
    rerun(bench, run_id, "b")
    assert isinstance(bench.finish(late).outcome, Ghost)
    assert bench.run_to_completion(run_id).run.status is RunStatus.COMPLETED
    assert bench.stage(run_id, "b").generation == 1


@pytest.mark.parametrize("state", ["pending", "running"])
def test_only_runs_that_have_ended_can_be_rerun(make_bench: MakeBench, state: str) -> None:
    bench = make_bench(pipeline(stage()))
    run_id = bench.create_pending() if state == "pending" else bench.create()
    with pytest.raises(RerunRefused, match=state.upper()):
        rerun(bench, run_id, "a")


def test_a_rerun_from_nowhere_is_refused(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage("a", boom, retry=ONCE), stage("b")))
    run_id = bench.run("w").run.id
    with pytest.raises(UnknownStage, match="no stage 'z'; it has: a, b"):
        rerun(bench, run_id, "z")
    with pytest.raises(RerunRefused, match="a did not complete; start at 'a'"):
        rerun(bench, run_id, "b")
    with pytest.raises(NotFound):
        rerun(bench, "nobody", "a")


def test_annotations_stay_with_the_generation_they_were_made_in(make_bench: MakeBench) -> None:
    def body(ctx: StageContext[Any, Any]) -> None:
        ctx.annotate("generation", ctx.generation)

    bench = make_bench(pipeline(stage(body=body), stage("b", body)))
    run_id = bench.run("w").run.id
    rerun(bench, run_id, "b")
    bench.run_to_completion(run_id)
    found = bench.annotations.list(run_id, scope_id="b")
    assert [(note.value, note.generation, note.stage_record_id is None) for note in found] == [
        (0, 0, True),
        (1, 1, False),
    ]
    assert [note.value for note in bench.annotations.list(run_id, generation=1)] == [1]


def test_a_rerun_under_a_key_happens_once(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage()))
    run_id = bench.run("w").run.id
    first = rerun(bench, run_id, "a", idempotency_key="k")
    assert rerun(bench, run_id, "a", idempotency_key="k") == first
    bench.run_to_completion(run_id)
    assert rerun(bench, run_id, "a", idempotency_key="k") == first
    assert bench.told(run_id).count("workflow:started") == 2
    with pytest.raises(IdempotencyConflictError):
        rerun(bench, run_id, "a", input_override=1, idempotency_key="k")


def test_tenants_may_use_the_same_key_for_their_reruns(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage()))
    runs = [bench.run("w", tenant=tenant).run.id for tenant in ("t1", "t2")]
    assert [rerun(bench, run_id, "a", idempotency_key="k").workflow_run_id for run_id in runs] == runs


def test_a_transition_has_nothing_to_do_while_a_stage_is_open(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline([stage(), stage("b", boom)], stage("c")))
    transition = RunTransition(workflow_run_id=bench.create())
    for _ in range(3):
        assert bench.dispatch(transition).action == "noop"
        bench.host.process_available_jobs(max_jobs=1)
    assert bench.dispatch(RunTransition(workflow_run_id="nobody")).action == "noop"


def test_a_transition_fails_the_run_of_a_failed_stage(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage()))
    run_id = bench.create()
    attempt = bench.start()

    failed: StagePatch = {"status": StageStatus.FAILED, "error_code": "CODE", "error_message": "Boom: no"}
    bench.end_only_the_stage(attempt, failed, JobStatus.FAILED)
    assert bench.dispatch(RunTransition(workflow_run_id=run_id)).action == "failed"
    run = bench.run_of(run_id)
    assert (run.status, run.failure_code, run.failure_message) == (RunStatus.FAILED, "CODE", "Boom: no")
    assert bench.last_event(run_id, "workflow:failed").error == "Boom: no"


@pytest.mark.parametrize("last", [False, True])
def test_a_transition_advances_the_run_once(make_bench: MakeBench, last: bool) -> None:
    bench = make_bench(pipeline(stage()) if last else pipeline(stage(), stage("b")))
    run_id = bench.create()
    attempt = bench.start()
    bench.end_only_the_stage(attempt, {"status": StageStatus.COMPLETED, "output_data": inline("out")})
    actions = [bench.dispatch(RunTransition(workflow_run_id=run_id)) for _ in range(2)]
    assert [each.action for each in actions] == ["completed" if last else "advanced", "noop"]
    assert actions[0].next_group == (None if last else 2)
    assert bench.run_of(run_id).status is (RunStatus.COMPLETED if last else RunStatus.RUNNING)


def test_of_two_transitions_at_once_one_is_a_noop(make_bench: MakeBench) -> None:
    workflow = pipeline(stage(), stage("b"))
    bench = make_bench(workflow)
    meanwhile = Meanwhile(bench.persistence)
    transition = RunTransition(workflow_run_id=bench.create())
    attempt = bench.start()
    bench.end_only_the_stage(attempt, {"status": StageStatus.COMPLETED, "output_data": inline("out")})
    first = []
    meanwhile.do = lambda: first.append(bench.dispatch(transition).action)
    assert make_bench(workflow, persistence=meanwhile).dispatch(transition).action == "noop"
    assert first == ["advanced"]
