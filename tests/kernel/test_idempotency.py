from functools import partial

import pytest

from engine.domain.errors import IdempotencyConflictError, IdempotencyInProgressError
from engine.kernel import JobExecute, RunCreate, RunCreateResult
from engine.ports.transaction import RunFilter
from engine.testing import InMemoryBlobStore
from engine.testing.contracts.threads import together
from tests.kernel.bench import Bench
from tests.kernel.stores import MakeBench, in_databases
from tests.kernel.workflows import Counted, pipeline, stage

CREATE = RunCreate(workflow_id="w", input={"b": 1, "a": 2}, start=True, idempotency_key="k")


def test_the_same_create_again_gives_the_same_run_and_notifies_again(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage()))
    first = bench.dispatch(CREATE)
    before = bench.reads.run(first.workflow_run_id)
    assert bench.dispatch(CREATE.model_copy(update={"input": {"a": 2, "b": 1}})) == first
    assert bench.reads.run(first.workflow_run_id) == before
    assert bench.wakes() == [{"type": "run.reconcile", "workflow_run_id": first.workflow_run_id}]


def test_a_second_try_may_belong_to_another_trace(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage()))
    traced = [CREATE.model_copy(update={"trace_context": f"00-{digit * 32}-{digit * 16}-01"}) for digit in "12"]
    assert bench.dispatch(traced[0]) == bench.dispatch(traced[1])


def test_a_replay_answers_as_the_first_call_did(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage()))
    first = bench.dispatch(CREATE)
    bench.run_to_completion(first.workflow_run_id)
    assert bench.dispatch(CREATE) == first
    assert len(bench.reads.runs(RunFilter()).runs) == 1


@pytest.mark.parametrize(
    "change",
    [{"input": 1}, {"priority": 6}, {"start": False}, {"config": {"a": {}}}, {"parent_run_id": "p"}],
    ids=lambda change: next(iter(change)),
)
def test_other_content_under_the_same_key_is_a_conflict(make_bench: MakeBench, change: dict[str, object]) -> None:
    bench = make_bench(pipeline(stage()))
    bench.dispatch(CREATE)
    with pytest.raises(IdempotencyConflictError):
        bench.dispatch(CREATE.model_copy(update=change))
    assert len(bench.reads.runs(RunFilter()).runs) == 1


def test_a_key_is_the_tenants_and_the_commands_own(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage()))
    runs = {bench.dispatch(CREATE.model_copy(update={"tenant": tenant})).workflow_run_id for tenant in (None, "t", "u")}
    assert len(runs) == 3
    run_id = bench.dispatch(CREATE).workflow_run_id
    execute = JobExecute(workflow_run_id=run_id, workflow_id="w", stage_id="a", idempotency_key="k")
    assert bench.dispatch(execute).outcome == "completed"


def test_a_replay_leaves_no_blob_behind(make_bench: MakeBench) -> None:
    blobs = InMemoryBlobStore()
    bench = make_bench(pipeline(stage()), blob_store=blobs)
    large = CREATE.model_copy(update={"input": "x" * 9000})
    bench.dispatch(large)
    kept = list(blobs.list("workflow-v2"))
    bench.dispatch(large)
    assert list(blobs.list("workflow-v2")) == kept


@in_databases
def test_of_many_creates_at_once_one_makes_the_run(make_bench: MakeBench) -> None:
    benches = [make_bench(pipeline(stage())) for _ in range(6)]

    def create(bench: Bench) -> RunCreateResult:
        return bench.dispatch(CREATE)

    results = together([partial(create, bench) for bench in benches])
    assert len({result.workflow_run_id for result in results}) == 1
    assert len(benches[0].reads.runs(RunFilter()).runs) == 1


@pytest.mark.failure(35)
def test_an_execution_in_progress_is_not_begun_again_until_its_key_expires(make_bench: MakeBench) -> None:
    def body(_ctx: object) -> str:
        if counted.calls == 1:
            with pytest.raises(IdempotencyInProgressError):
                bench.dispatch(execute)
            raise KeyboardInterrupt
        return "out"

    counted = Counted(body)
    bench = make_bench(pipeline(stage(body=counted)))
    execute = JobExecute(workflow_run_id=bench.create(), workflow_id="w", stage_id="a", idempotency_key="k")
    with pytest.raises(KeyboardInterrupt):
        bench.dispatch(execute)
    assert bench.dispatch(execute).output == "out"
