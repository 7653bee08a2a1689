from datetime import timedelta
from typing import Any

import pytest

from engine import StageContext, StageResult
from engine.kernel import RunRerunFrom
from engine.kernel.pruning import Pruned, prune
from engine.ports.transaction import RunFilter
from tests.kernel.bench import Bench
from tests.kernel.ports import CountingBlobStore
from tests.kernel.stores import MakeBench
from tests.kernel.workflows import echo, pipeline, stage

LEASE = timedelta(minutes=5)
LARGE = "x" * 10_000


def rows(bench: Bench, run_id: str) -> dict[str, int]:
    view = bench.reads.run(run_id)
    return {
        "runs": 1,
        "stages": len(view.stages),
        "jobs": len(view.jobs),
        "events": len(bench.reads.events(run_id)),
        "logs": len(bench.reads.logs(run_id)),
        "artifacts": len(bench.reads.artifacts(run_id)),
        "annotations": len(bench.annotations.list(run_id)),
    }


@pytest.mark.failure(27)
def test_a_trivial_run_leaves_few_rows(make_bench: MakeBench) -> None:
    """A run, its stages, a job and two events for each stage, and three events of its own."""
    bench = make_bench(pipeline(stage("a"), stage("b"), stage("c")))
    run_id = bench.run("w").run.id
    assert rows(bench, run_id) == {
        "runs": 1,
        "stages": 3,
        "jobs": 3,
        "events": 9,
        "logs": 0,
        "artifacts": 0,
        "annotations": 0,
    }


def noisy(ctx: StageContext[Any, Any]) -> StageResult[Any]:
    ctx.log.info("line")
    ctx.annotate("key", "value")
    ctx.storage.save("kept.json", 1)
    return StageResult(LARGE, artifacts={"report.txt": "text"})


@pytest.mark.failure(27)
def test_pruning_removes_old_runs_with_rows_and_blobs(make_bench: MakeBench) -> None:
    """Runs that ended before the limit are deleted; newer and unfinished ones stay."""
    blobs = CountingBlobStore()
    bench = make_bench(pipeline(stage(body=noisy)), blob_store=blobs)
    old = bench.run("w", LARGE, idempotency_key="old").run.id
    bench.clock.advance(timedelta(days=60))
    newer, running = bench.run("w", LARGE).run.id, bench.create()
    bench.clock.advance(timedelta(days=40))
    kept = set(blobs.list("workflow-v2")) - set(blobs.list(f"workflow-v2/w/{old}"))
    pruned = prune(bench.kernel.deps, timedelta(days=90), lease=LEASE)
    assert pruned == Pruned(runs=1, blobs=4, keys=1)
    assert {run.id for run in bench.reads.runs(RunFilter()).runs} == {newer, running}
    assert set(blobs.list("workflow-v2")) == kept
    assert list(bench.reads.events(old)) == []
    assert list(bench.reads.logs(old)) == []
    assert prune(bench.kernel.deps, timedelta(days=90), lease=LEASE) == Pruned()


@pytest.mark.failure(27)
def test_pruning_removes_results_without_references(make_bench: MakeBench) -> None:
    """Late workers wrote them after losing their lease; they are kept until an hour after the run's end."""
    blobs = CountingBlobStore()
    bench = make_bench(pipeline(stage(body=noisy)), blob_store=blobs)
    run = bench.run("w").run
    kept = set(blobs.list("workflow-v2"))
    for name in ("output.json", "artifacts/report.txt"):
        blobs.put(f"workflow-v2/w/{run.id}/a/0/late/{name}", 1)
    assert prune(bench.kernel.deps, timedelta(days=90), lease=LEASE).blobs == 0
    bench.clock.advance(timedelta(hours=1) + LEASE + timedelta(seconds=1))
    assert prune(bench.kernel.deps, timedelta(days=90), lease=LEASE).blobs == 2
    assert set(blobs.list("workflow-v2")) == kept
    assert bench.output(run.id) == LARGE


@pytest.mark.failure(27)
def test_only_outputs_that_are_used_are_read(make_bench: MakeBench) -> None:
    """A stage reads its input, and an earlier output only when the body asks for it."""
    blobs = CountingBlobStore()
    last: list[int] = []

    def ask(ctx: StageContext[Any, Any]) -> None:
        before = len(blobs.read)
        assert sorted(ctx.workflow_context) == ["a", "b", "c"]
        assert len(blobs.read) == before
        ctx.require("b")
        ctx.require("b")
        last.append(len(blobs.read) - before)

    bench = make_bench(pipeline(stage(), stage("b"), stage("c"), stage("z", ask)), blob_store=blobs)
    run_id = bench.create("w", LARGE)
    for _ in "abc":
        bench.work()
    blobs.read.clear()
    bench.work()
    assert (last, len(blobs.read)) == ([1], 2)
    assert [key.split("/")[3] for key in blobs.read] == ["c", "b"]
    assert blobs.read[0].startswith(f"workflow-v2/w/{run_id}/")


@pytest.mark.failure(27)
def test_a_rerun_leaves_only_the_blobs_of_the_newest_generation(make_bench: MakeBench) -> None:
    """Blobs of old generations are deleted; those of earlier stages stay."""
    blobs = CountingBlobStore()
    bench = make_bench(pipeline(stage(body=noisy), stage("b", noisy), stage("c", echo)), blob_store=blobs)
    run_id = bench.run("w").run.id
    before = set(blobs.list(f"workflow-v2/w/{run_id}/a"))
    bench.dispatch(RunRerunFrom(workflow_run_id=run_id, from_stage_id="b"))
    bench.run_to_completion(run_id)
    assert set(blobs.list(f"workflow-v2/w/{run_id}/a")) == before
    assert {key.split("/")[4] for key in blobs.list(f"workflow-v2/w/{run_id}/b")} == {"1"}
