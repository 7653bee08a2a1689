"""Leases and due times go by the database's clock, whatever zone the server, the session or the caller is in."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from engine.adapters.sql.persistence import SqlPersistence
from engine.ports.changes import PASSED, Changes, Condition, FromNow, JobUpdate, Refused, RunUpdate
from engine.ports.persistence import Claim, LockedRun, NoClaim, Persistence
from engine.testing.contracts.changes import applied, begun, changes, fails, releases_lease
from engine.testing.contracts.reading import job_of
from engine.testing.contracts.rows import AT, claim, claim_any
from engine.transitions.keep_lease import renew_lease
from tests.support.postgres import SERVER_TIME_ZONE, PostgresServer
from tests.unit.sql.stores import emptied

SLACK = timedelta(seconds=5)
EXPIRED: Condition = {"lease_until": PASSED}


def is_now(time: datetime | None, offset: float = 0.0) -> bool:
    assert time is not None
    assert time.utcoffset() == timedelta(0)
    return abs(time - timedelta(seconds=offset) - datetime.now(UTC)) < SLACK


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("pg8000", marks=pytest.mark.postgres),
        pytest.param("psycopg", marks=pytest.mark.postgres),
    ]
)
def persistence(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Persistence]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/engine.db"
    else:
        url = emptied(request.getfixturevalue("postgres_server"), request.param)
    persistence = SqlPersistence(url)
    yield persistence
    persistence.close()


@pytest.mark.postgres
def test_the_test_server_is_not_in_utc(postgres_server: PostgresServer) -> None:
    engine = create_engine(emptied(postgres_server))
    with engine.connect() as connection:
        assert connection.exec_driver_sql("show timezone").scalar() == SERVER_TIME_ZONE
    engine.dispose()


def test_the_time_is_the_present(persistence: Persistence) -> None:
    assert is_now(persistence.read(lambda tx: tx.now()))


def test_a_stage_does_not_start_before_the_lock_it_waited_for(tmp_path: Path) -> None:
    """On SQLite, whose one writer makes the others wait. Else a stage would seem to start before what it follows."""
    persistence = SqlPersistence(f"sqlite:///{tmp_path}/engine.db")
    applied(persistence, begun("a"))
    asked = datetime.now(UTC) - timedelta(minutes=5)
    claimed = persistence.claim(replace(claim(seconds=60), at=asked))
    assert isinstance(claimed, Claim)
    assert is_now(claimed.stage.started_at)
    persistence.close()


def test_a_fresh_lease_is_not_stale(persistence: Persistence) -> None:
    applied(persistence, begun("a"))
    assert isinstance(persistence.claim(claim(seconds=60)), Claim)
    assert is_now(job_of(persistence).lease_until, 60)
    assert persistence.read(lambda tx: tx.jobs.expired(9)) == []
    later = persistence.claim(claim(token="other"))
    assert isinstance(later, NoClaim)
    assert is_now(later.later_at, 60)
    assert persistence.write(releases_lease(expect=EXPIRED)) == Refused()


def test_a_lease_is_renewed_from_now(persistence: Persistence) -> None:
    applied(persistence, begun("a"))
    persistence.claim(claim(seconds=1))
    applied(persistence, renew_lease("r", "r.a.job", "t", 100, AT))
    assert is_now(job_of(persistence).lease_until, 100)


def test_waiting_for_a_run_shortens_no_lease(persistence: Persistence) -> None:
    applied(persistence, begun("a"))
    persistence.claim(claim())
    is_locked = threading.Event()

    def hold(locked: LockedRun) -> Changes | Refused:
        is_locked.set()
        time.sleep(0.5)
        held_until.append(locked.tx.now())
        return Refused()

    held_until: list[datetime] = []
    with ThreadPoolExecutor(1) as pool:
        decision = pool.submit(persistence.decide, "r", hold)
        assert is_locked.wait(10)
        applied(persistence, _renewed_with_its_run(60))
        decision.result(10)
    lease_until = job_of(persistence).lease_until
    assert lease_until is not None
    assert lease_until >= held_until[0] + timedelta(seconds=60)


def _renewed_with_its_run(seconds: float) -> Changes:
    renewed = JobUpdate(ids=("r.a.job",), set={"lease_until": FromNow(seconds)})
    return changes(renewed, run=RunUpdate(ids=("r",)))


def test_a_lease_that_ran_out_is_stale(persistence: Persistence) -> None:
    applied(persistence, begun("a"))
    persistence.claim(claim(seconds=-0.001))
    assert [job.id for job in persistence.read(lambda tx: tx.jobs.expired(9))] == ["r.a.job"]
    assert persistence.read(lambda tx: tx.jobs.expired(9, older_than=60)) == []
    applied(persistence, releases_lease(expect=EXPIRED))


def test_a_retry_waits_for_its_time(persistence: Persistence) -> None:
    applied(persistence, begun("a"))
    persistence.claim(claim())
    applied(persistence, fails(retry_in=50))
    assert is_now(job_of(persistence).due_at, 50)
    assert isinstance(persistence.claim(claim_any()), NoClaim)
    assert persistence.read(lambda tx: tx.jobs.due(["default"], 9)) == []


def test_a_job_is_due_at_once(persistence: Persistence) -> None:
    applied(persistence, begun("a"))
    assert [job.id for job in persistence.read(lambda tx: tx.jobs.due(["default"], 9))] == ["r.a.job"]


def test_events_are_claimed_from_now(persistence: Persistence) -> None:
    applied(persistence, begun("a"))
    (event,) = persistence.transact(lambda tx: tx.outbox.claim("r", token="t", seconds=30, limit=9))
    assert is_now(event.claimed_until, 30)
    assert persistence.read(lambda tx: tx.outbox.ready(9)) == []
