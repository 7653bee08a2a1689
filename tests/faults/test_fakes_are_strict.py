import pytest

from engine.domain.errors import InvalidInput, StaleVersionError, StoreError
from engine.domain.lifecycle import Status
from engine.ports.persistence import NoClaim, Persistence
from engine.ports.transaction import Tx
from tests.kernel.stores import MakeBench
from tests.kernel.workflows import STEADY, Flaky, pipeline, stage


class Interrupted(Exception):
    pass


def test_a_transaction_that_raises_leaves_nothing_in_any_store(make_bench: MakeBench, persistence: Persistence) -> None:
    """bugs.md 25: memory rolls back as databases do."""
    bench = make_bench(pipeline(stage()))
    run_id = bench.create()
    before = bench.reads.run(run_id)

    def work(tx: Tx) -> None:
        tx.runs.update(run_id, {"status": Status.FAILED})
        tx.stages.delete([before.stages[0].id])
        tx.jobs.update(before.jobs[0].id, {"priority": 9})
        raise Interrupted

    with pytest.raises(Interrupted):
        persistence.transact(work)
    assert bench.reads.run(run_id) == before


def test_every_store_refuses_duplicates_and_stale_versions(make_bench: MakeBench, persistence: Persistence) -> None:
    """bugs.md 25: memory is as strict as PostgreSQL."""
    bench = make_bench(pipeline(stage()))
    view = bench.reads.run(bench.create())
    with pytest.raises(StoreError):
        persistence.transact(lambda tx: tx.runs.insert(view.run))
    with pytest.raises(StoreError):
        persistence.transact(lambda tx: tx.jobs.insert(view.jobs))
    with pytest.raises(StaleVersionError):
        persistence.transact(lambda tx: tx.runs.update(view.run.id, {}, expected_version=view.run.version - 1))
    with pytest.raises(InvalidInput):
        persistence.transact(lambda tx: tx.runs.update(view.run.id, {"failure_message": "a\x00"}))
    assert persistence.transact(lambda tx: tx.stages.insert_missing(view.stages)) == frozenset()


def test_a_retry_waits_for_its_backoff_in_every_store(make_bench: MakeBench) -> None:
    """bugs.md 25: a fake queue that hands out a retry at once hides what production does."""
    bench = make_bench(pipeline(stage(body=Flaky(1), retry=STEADY)))
    bench.create()
    bench.work()
    bench.clock.advance(1.9)
    assert isinstance(bench.try_start(), NoClaim)
    bench.clock.advance(0.1)
    bench.work()
