"""The contract of the call logger in memory, on SQLite, and on PostgreSQL with both drivers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.adapters.memory.persistence import InMemoryPersistence
from engine.adapters.sql.persistence import SqlPersistence
from engine.persistence import SqlAICallLogger
from engine.testing import FakeClock, InMemoryAICallLogger
from engine.testing.contracts.ai_call_logger import AICallLoggerContract
from tests.support.postgres import PostgresServer
from tests.unit.sql.stores import emptied


class TestMemory(AICallLoggerContract):
    @pytest.fixture
    def persistence(self, clock: FakeClock) -> InMemoryPersistence:
        return InMemoryPersistence(clock)

    @pytest.fixture
    def log(self, persistence: InMemoryPersistence) -> InMemoryAICallLogger:
        return InMemoryAICallLogger(persistence)


class OverSql(AICallLoggerContract):
    @pytest.fixture
    def log(self, persistence: SqlPersistence) -> SqlAICallLogger:
        return SqlAICallLogger(persistence)


class TestSqlite(OverSql):
    @pytest.fixture
    def persistence(self, clock: FakeClock, tmp_path: Path) -> Iterator[SqlPersistence]:
        persistence = SqlPersistence(f"sqlite:///{tmp_path}/engine.db", clock=clock)
        yield persistence
        persistence.close()


@pytest.mark.postgres
class TestPg8000(OverSql):
    @pytest.fixture
    def persistence(self, clock: FakeClock, postgres_server: PostgresServer) -> Iterator[SqlPersistence]:
        persistence = SqlPersistence(emptied(postgres_server), clock=clock)
        yield persistence
        persistence.close()


@pytest.mark.postgres
class TestPsycopg(OverSql):
    @pytest.fixture
    def persistence(self, clock: FakeClock, postgres_server: PostgresServer) -> Iterator[SqlPersistence]:
        persistence = SqlPersistence(emptied(postgres_server, "psycopg"), clock=clock)
        yield persistence
        persistence.close()
