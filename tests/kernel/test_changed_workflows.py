import pytest

from engine.domain.lifecycle import RunStatus, StageStatus
from tests.kernel.stores import MakeBench
from tests.kernel.workflows import pipeline, stage


@pytest.mark.failure(36)
def test_a_run_continues_under_new_code_with_a_warning(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage(), stage("b")))
    run_id = bench.create("w", 1)
    bench.work()
    bench.workflows.by_id["w"] = pipeline(stage(), stage("b", output=int), stage("c"))
    assert bench.run_to_completion(run_id).run.status is RunStatus.COMPLETED
    assert bench.statuses(run_id) == dict.fromkeys("abc", StageStatus.COMPLETED)
    assert {line.level for line in bench.reads.logs(run_id)} == {"WARN"}
    assert "has changed" in bench.reads.logs(run_id)[0].message


@pytest.mark.failure(36)
def test_a_stage_that_is_gone_fails_the_run(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage(), stage("b")))
    run_id = bench.create("w", 1)
    bench.work()
    bench.workflows.by_id["w"] = pipeline(stage(), stage("z"))
    bench.work()
    run = bench.run_of(run_id)
    assert (run.status, run.failure_code) == (RunStatus.FAILED, "WORKFLOW_CHANGED")
    assert "no longer has the stage 'b'" in (run.failure_message or "")


def test_a_workflow_that_is_gone_fails_its_runs(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage()))
    run_id = bench.create()
    bench.workflows.by_id.clear()
    bench.work()
    assert (bench.run_of(run_id).status, bench.run_of(run_id).failure_code) == (RunStatus.FAILED, "WORKFLOW_NOT_FOUND")


def test_a_run_may_be_longer_than_its_workflow_is_by_now(make_bench: MakeBench) -> None:
    def shorten(_ctx: object) -> str:
        bench.workflows.by_id["w"] = pipeline(stage("b"))
        return "out"

    bench = make_bench(pipeline(stage(), stage("b", shorten)))
    run_id = bench.create("w", 1)
    bench.work()
    bench.work()
    assert (bench.run_of(run_id).status, bench.output(run_id)) == (RunStatus.COMPLETED, {"b": "out"})


def test_a_stage_whose_input_is_gone_fails_the_run_and_not_its_worker(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage(), stage("b")))
    run_id = bench.create("w", 1)
    bench.work()
    bench.workflows.by_id["w"] = pipeline([stage("a"), stage("x")], stage("b"))
    bench.work()
    run = bench.run_of(run_id)
    assert run.status is RunStatus.FAILED
    assert "the output of 'x' is missing" in (run.failure_message or "")
