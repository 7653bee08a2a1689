from typing import Any

import pytest

from engine import StageContext
from engine.domain.errors import IdempotencyConflictError
from engine.domain.lifecycle import RunStatus
from engine.kernel import RunCreate, RunRerunFrom
from engine.ports.transaction import RunFilter
from tests.kernel.stores import MakeBench
from tests.kernel.workflows import ONCE, Counted, Flaky, pipeline, stage


@pytest.mark.failure(13)
def test_a_rerun_of_one_of_two_siblings_runs_both_once(make_bench: MakeBench) -> None:
    """A parallel sibling belongs to the target's group."""
    left, right, last = Counted(), Counted(), Counted()
    bench = make_bench(pipeline(stage(), [stage("l", left), stage("r", right)], stage("z", last)))
    run_id = bench.run("w", 1).run.id
    rerun = bench.dispatch(RunRerunFrom(workflow_run_id=run_id, from_stage_id="r"))
    assert set(rerun.deleted_stages) == {"l", "r", "z"}
    assert bench.run_to_completion(run_id).run.status is RunStatus.COMPLETED
    assert (left.calls, right.calls, last.calls) == (2, 2, 2)
    generations = {stage.stage_id: stage.generation for stage in bench.reads.run(run_id).stages}
    assert generations == {"a": 0, "l": 1, "r": 1, "z": 1}


@pytest.mark.failure(13)
def test_a_rerun_after_a_stage_with_output_null_continues_with_null(make_bench: MakeBench) -> None:
    """Null is an output like any other."""
    seen: list[Any] = []

    def remember(ctx: StageContext[Any, Any]) -> None:
        seen.append(ctx.input)

    bench = make_bench(pipeline(stage(body=lambda _ctx: None), stage("b", remember)))
    run_id = bench.run("w", 1).run.id
    bench.dispatch(RunRerunFrom(workflow_run_id=run_id, from_stage_id="b"))
    assert bench.run_to_completion(run_id).run.status is RunStatus.COMPLETED
    assert seen == [None, None]


@pytest.mark.failure(13)
def test_old_jobs_never_run_against_new_stage_records(make_bench: MakeBench) -> None:
    """Every old job is CANCELLED or has ended, and its notification finds a ghost."""
    body = Flaky(1)
    bench = make_bench(pipeline(stage(body=body, retry=ONCE)))
    run_id = bench.run("w", 1).run.id
    (old,) = bench.reads.run(run_id).jobs
    bench.dispatch(RunRerunFrom(workflow_run_id=run_id, from_stage_id="a"))
    assert bench.deliver(old).outcome == "ghost"
    assert body.calls == 1
    assert bench.run_to_completion(run_id).run.status is RunStatus.COMPLETED


@pytest.mark.failure(14)
def test_the_same_key_with_other_content_is_a_conflict(make_bench: MakeBench) -> None:
    """The command does not return the first run."""
    bench = make_bench(pipeline(stage()))
    first = bench.dispatch(RunCreate(workflow_id="w", input=1, idempotency_key="k"))
    with pytest.raises(IdempotencyConflictError, match="'k'"):
        bench.dispatch(RunCreate(workflow_id="w", input=2, idempotency_key="k"))
    assert bench.dispatch(RunCreate(workflow_id="w", input=1, idempotency_key="k")) == first
    assert len(bench.reads.runs(RunFilter()).runs) == 1
