import pytest

from engine.domain.lifecycle import Status
from engine.kernel import LeaseReapStale
from tests.kernel.stores import MakeBench
from tests.kernel.workflows import Counted, pipeline, stage


def test_a_run_goes_on_under_new_code_with_a_warning(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage(), stage("b")))
    run_id = bench.create("w", 1)
    bench.work()
    bench.workflows.by_id["w"] = pipeline(stage(), stage("b", output=int), stage("c"))
    assert bench.run_to_completion(run_id).run.status is Status.COMPLETED
    assert bench.statuses(run_id) == dict.fromkeys("abc", Status.COMPLETED)
    assert {line.level for line in bench.reads.logs(run_id)} == {"WARN"}
    assert "has changed" in bench.reads.logs(run_id)[0].message


def test_a_stage_that_is_gone_fails_the_run(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage(), stage("b")))
    run_id = bench.create("w", 1)
    bench.work()
    bench.workflows.by_id["w"] = pipeline(stage(), stage("z"))
    bench.work()
    run = bench.run_of(run_id)
    assert (run.status, run.failure_code) == (Status.FAILED, "WORKFLOW_CHANGED")
    assert "no longer has the stage 'b'" in (run.failure_message or "")


def test_a_workflow_that_is_gone_fails_its_runs(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage()))
    run_id = bench.create()
    bench.workflows.by_id.clear()
    bench.work()
    assert (bench.run_of(run_id).status, bench.run_of(run_id).failure_code) == (Status.FAILED, "WORKFLOW_NOT_FOUND")


@pytest.mark.parametrize("when", ["before", "while"])
def test_a_workflow_that_became_shorter_ends_its_runs(make_bench: MakeBench, when: str) -> None:
    def shorten(_ctx: object) -> str:
        bench.workflows.by_id["w"] = shorter
        return "out"

    shorter = pipeline([stage("x"), stage("b", input=None) if when == "before" else stage("b")])
    body = Counted(shorten)
    bench = make_bench(pipeline(stage(), stage("b", body)))
    run_id = bench.create("w", 1)
    bench.work()
    if when == "before":
        bench.workflows.by_id["w"] = pipeline(stage("b", body))
    bench.work()
    assert body.calls <= 1
    assert bench.run_of(run_id).status in {Status.COMPLETED, Status.FAILED}
    bench.clock.advance(301)
    assert bench.dispatch(LeaseReapStale()).released == 0
