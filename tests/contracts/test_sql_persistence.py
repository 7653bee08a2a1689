"""The contract of the persistence port on SQLite, and on PostgreSQL with both drivers."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engine.adapters.sql.persistence import SqlPersistence
from engine.domain.lifecycle import RunStatus
from engine.domain.records import RunRecord
from engine.ports.changes import Changes, Check, FromNow, Insert, JobUpdate, Reason, Refused
from engine.ports.persistence import LockedRun
from engine.testing.clock import FakeClock
from engine.testing.contracts.changes import applied, begun, written
from engine.testing.contracts.persistence import PersistenceContract
from engine.testing.contracts.rows import a_log, claim
from tests.support.postgres import PostgresServer
from tests.unit.sql.stores import emptied


class TestSqlite(PersistenceContract):
    @pytest.fixture
    def persistence(self, clock: FakeClock, tmp_path: Path) -> Iterator[SqlPersistence]:
        persistence = SqlPersistence(f"sqlite:///{tmp_path}/engine.db", clock=clock)
        yield persistence
        persistence.close()


class PostgresContract(PersistenceContract):
    def test_a_heartbeat_does_not_wait_for_who_decides_about_its_run(self, persistence: SqlPersistence) -> None:
        applied(persistence, begun("a"))
        persistence.claim(claim())
        is_locked, is_written, decisions = threading.Event(), threading.Event(), []

        def decide(locked: LockedRun) -> Changes | Refused:
            decisions.append(locked.run)
            is_locked.set()
            assert is_written.wait(30)
            return Refused(Reason.NOTHING)

        with ThreadPoolExecutor(1) as pool:
            decision = pool.submit(persistence.decide, "r", decide)
            try:
                assert is_locked.wait(30)
                written(
                    persistence,
                    Check(record=RunRecord, id="r", expect={"status": RunStatus.RUNNING}),
                    JobUpdate(ids=("r.a.job",), set={"lease_until": FromNow(60)}, expect={"lease_token": "t"}),
                    Insert(rows=(a_log("1"),), skip_existing=True),
                )
            finally:
                is_written.set()
            assert decision.result(30) == Refused(Reason.NOTHING)
        assert len(decisions) == 1


@pytest.mark.postgres
class TestPg8000(PostgresContract):
    @pytest.fixture
    def persistence(self, clock: FakeClock, postgres_server: PostgresServer) -> Iterator[SqlPersistence]:
        persistence = SqlPersistence(emptied(postgres_server), clock=clock)
        yield persistence
        persistence.close()


@pytest.mark.postgres
class TestPsycopg(PostgresContract):
    @pytest.fixture
    def persistence(self, clock: FakeClock, postgres_server: PostgresServer) -> Iterator[SqlPersistence]:
        persistence = SqlPersistence(emptied(postgres_server, "psycopg"), clock=clock)
        yield persistence
        persistence.close()
