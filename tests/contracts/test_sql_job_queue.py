"""The job queue's contract on SQLite, and on PostgreSQL with both drivers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.adapters.sql.persistence import SqlPersistence
from engine.persistence import SqlJobQueue
from engine.testing.clock import FakeClock
from engine.testing.contracts.job_queue import JobQueueContract
from tests.support.postgres import PostgresServer
from tests.unit.sql.stores import emptied


class SqlQueueContract(JobQueueContract):
    @pytest.fixture
    def queue(self, persistence: SqlPersistence) -> SqlJobQueue:
        return SqlJobQueue(persistence)


class TestSqlite(SqlQueueContract):
    @pytest.fixture
    def persistence(self, clock: FakeClock, tmp_path: Path) -> Iterator[SqlPersistence]:
        persistence = SqlPersistence(f"sqlite:///{tmp_path}/engine.db", clock=clock)
        yield persistence
        persistence.close()


@pytest.mark.postgres
class TestPg8000(SqlQueueContract):
    @pytest.fixture
    def persistence(self, clock: FakeClock, postgres_server: PostgresServer) -> Iterator[SqlPersistence]:
        persistence = SqlPersistence(emptied(postgres_server), clock=clock)
        yield persistence
        persistence.close()


@pytest.mark.postgres
class TestPsycopg(SqlQueueContract):
    @pytest.fixture
    def persistence(self, clock: FakeClock, postgres_server: PostgresServer) -> Iterator[SqlPersistence]:
        persistence = SqlPersistence(emptied(postgres_server, "psycopg"), clock=clock)
        yield persistence
        persistence.close()
