import pytest

from engine.domain.errors import InvalidInput
from engine.domain.lifecycle import JobStatus, RunStatus
from engine.domain.records import StageRecord
from engine.ports.changes import Changes, Delete, Insert, JobUpdate, Refused, RunUpdate, Write, Written
from engine.ports.persistence import NoClaim, Persistence
from engine.ports.transaction import Tx
from tests.kernel.stores import MakeBench
from tests.kernel.workflows import STEADY, Flaky, pipeline, stage


class Interrupted(Exception):
    pass


@pytest.mark.failure(25)
def test_a_transaction_that_raises_leaves_nothing_in_any_store(make_bench: MakeBench, persistence: Persistence) -> None:
    """The memory store rolls back as databases do."""
    bench = make_bench(pipeline(stage()))
    run_id = bench.create()
    before = bench.reads.run(run_id)

    def work(tx: Tx) -> None:
        tx.runs.delete([run_id])
        raise Interrupted

    with pytest.raises(Interrupted):
        persistence.transact(work)
    assert bench.reads.run(run_id) == before
    refused = Changes(
        run_id=run_id,
        at=bench.clock.now(),
        run=RunUpdate(ids=(run_id,), set={"status": RunStatus.FAILED}),
        writes=(
            Delete(record=StageRecord, ids=(before.stages[0].id,)),
            JobUpdate(ids=(before.jobs[0].id,), set={"worker_id": "w"}, expect={"status": JobStatus.RUNNING}),
        ),
    )
    assert persistence.write(refused) == Refused()
    assert bench.reads.run(run_id) == before


@pytest.mark.failure(25)
def test_every_store_refuses_duplicates_and_stale_versions(make_bench: MakeBench, persistence: Persistence) -> None:
    """The memory store is as strict as PostgreSQL."""
    bench = make_bench(pipeline(stage()))
    view = bench.reads.run(bench.create())
    at = bench.clock.now()

    def write(run: RunUpdate | None = None, *writes: Write) -> Written | Refused:
        return persistence.write(Changes(run_id=view.run.id, at=at, run=run, writes=writes))

    for rows in ((view.run,), tuple(view.jobs), tuple(view.stages)):
        assert write(None, Insert(rows=rows)) == Refused()
    assert write(RunUpdate(ids=(view.run.id,), expect={"version": view.run.version - 1})) == Refused()
    with pytest.raises(InvalidInput):
        write(RunUpdate(ids=(view.run.id,), set={"failure_message": "a\x00"}))
    assert bench.reads.run(view.run.id) == view


@pytest.mark.failure(25)
def test_a_retry_waits_for_its_backoff_in_every_store(make_bench: MakeBench) -> None:
    """A fake queue that offers a retry at once would hide the production behaviour."""
    bench = make_bench(pipeline(stage(body=Flaky(1), retry=STEADY)))
    bench.create()
    bench.work()
    bench.clock.advance(1.9)
    assert isinstance(bench.try_start(), NoClaim)
    bench.clock.advance(0.1)
    bench.work()
