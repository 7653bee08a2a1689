"""Claims on PostgreSQL while others hold runs: nobody waits while there is work elsewhere, and no due job is missed."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from engine.adapters.sql.persistence import SqlPersistence
from engine.ports.changes import Changes, Refused
from engine.ports.persistence import Claim, LockedRun, NoClaim
from engine.testing.contracts.changes import applied, begun, cancels, set_run
from engine.testing.contracts.rows import claim_any
from tests.support.postgres import PostgresServer
from tests.unit.sql.stores import DRIVERS, emptied

pytestmark = pytest.mark.postgres


@pytest.fixture(params=DRIVERS)
def persistence(request: pytest.FixtureRequest, postgres_server: PostgresServer) -> Iterator[SqlPersistence]:
    persistence = SqlPersistence(emptied(postgres_server, request.param), pool_size=4)
    yield persistence
    persistence.close()


@contextmanager
def held(
    store: SqlPersistence, run_id: str, decide: Callable[[], Changes | Refused] = Refused
) -> Iterator[threading.Event]:
    """The run is held until the event is set, or for a second."""
    is_locked, may_end = threading.Event(), threading.Event()

    def hold(_locked: LockedRun) -> Changes | Refused:
        is_locked.set()
        may_end.wait(1)
        return decide()

    with ThreadPoolExecutor(1) as pool:
        decision = pool.submit(store.decide, run_id, hold)
        assert is_locked.wait(10)
        try:
            yield may_end
        finally:
            may_end.set()
            decision.result(10)


@contextmanager
def claiming(store: SqlPersistence) -> Iterator[Future[Claim | NoClaim]]:
    """A claim of any job in another thread, which waits by now."""
    with ThreadPoolExecutor(1) as pool:
        claim = pool.submit(store.claim, claim_any("waited"))
        time.sleep(0.2)
        assert not claim.done()
        yield claim


def run_of_claim(claim: Claim | NoClaim) -> str | None:
    return claim.run.id if isinstance(claim, Claim) else None


def test_a_run_that_somebody_holds_is_passed_by(persistence: SqlPersistence) -> None:
    applied(persistence, begun("a", run_id="r1"))
    applied(persistence, begun("a", run_id="r2"))
    with held(persistence, "r1") as may_end:
        assert run_of_claim(persistence.claim(claim_any())) == "r2"
        assert not may_end.is_set()


def test_if_all_due_jobs_are_in_runs_that_are_held_one_is_waited_for(persistence: SqlPersistence) -> None:
    applied(persistence, begun("a", run_id="r1"))
    with held(persistence, "r1") as may_end, claiming(persistence) as claim:
        may_end.set()
        assert run_of_claim(claim.result(10)) == "r1"


def test_waiting_for_a_run_shortens_no_lease(persistence: SqlPersistence) -> None:
    applied(persistence, begun("a", run_id="r1"))
    with held(persistence, "r1") as may_end, claiming(persistence) as claim:
        freed = datetime.now(UTC)
        may_end.set()
        claimed = claim.result(10)
    assert isinstance(claimed, Claim)
    assert claimed.job.lease_until is not None
    assert (claimed.job.lease_until - freed).total_seconds() >= 60


def test_who_waited_in_vain_looks_again(persistence: SqlPersistence) -> None:
    applied(persistence, begun("a", run_id="r1"))
    with held(persistence, "r1", lambda: cancels("a", run_id="r1")) as may_end, claiming(persistence) as claim:
        applied(persistence, begun("a", run_id="r2"))
        may_end.set()
        assert run_of_claim(claim.result(10)) == "r2"


def test_nobody_waits_for_a_run_while_holding_another(persistence: SqlPersistence) -> None:
    for number in range(2):
        applied(persistence, begun("a", run_id=f"r{number}"))
    set_run(persistence, "r0", failure_code="X")
    with held(persistence, "r1") as may_end, claiming(persistence) as claim:
        began = time.monotonic()
        set_run(persistence, "r0", tenant="changed meanwhile")
        assert time.monotonic() - began < 0.5
        may_end.set()
        assert run_of_claim(claim.result(10)) == "r1"
