import pytest

from engine import RetryPolicy, StageContext
from engine.domain.blob_keys import run_prefix
from engine.domain.errors import InvalidBlobKey
from engine.testing import InMemoryBlobStore
from tests.kernel.stores import MakeBench, in_memory
from tests.kernel.workflows import pipeline, stage

VICTIM = "workflow-v2/other/run/secret.json"


@pytest.mark.failure(23)
@in_memory
@pytest.mark.parametrize(
    "name",
    ["{run}/../../other/run/secret.json", "../../../../other/run/secret.json", VICTIM, "{run}x/secret.json", "/etc/x"],
)
@pytest.mark.parametrize("access", ["load", "save", "delete", "exists", "open"])
def test_a_stage_cannot_reach_blobs_outside_its_run(make_bench: MakeBench, name: str, access: str) -> None:
    """A key is checked segment by segment, not by its beginning."""
    blobs = InMemoryBlobStore()
    blobs.put(VICTIM, "secret")

    def reach(ctx: StageContext[str]) -> None:
        key = name.format(run=f"workflow-v2/w/{ctx.workflow_run_id}")
        arguments = [key, "overwritten"] if access == "save" else [key]
        with pytest.raises(InvalidBlobKey):
            getattr(ctx.storage, access)(*arguments)

    bench = make_bench(pipeline(stage(body=reach, retry=RetryPolicy(max_attempts=1))), blob_store=blobs)
    run = bench.run("w").run
    assert run.failure_message is None
    assert blobs.get(VICTIM) == "secret"
    assert list(blobs.list(run_prefix(run))) == []
