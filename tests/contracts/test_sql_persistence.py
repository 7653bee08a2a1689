"""The contract of the persistence port on SQLite, and on PostgreSQL with both drivers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.adapters.sql.persistence import SqlPersistence
from engine.testing.clock import FakeClock
from engine.testing.contracts.persistence import PersistenceContract
from tests.support.postgres import PostgresServer
from tests.unit.sql.stores import emptied


class TestSqlite(PersistenceContract):
    @pytest.fixture
    def persistence(self, clock: FakeClock, tmp_path: Path) -> Iterator[SqlPersistence]:
        persistence = SqlPersistence(f"sqlite:///{tmp_path}/engine.db", clock=clock)
        yield persistence
        persistence.close()


@pytest.mark.postgres
class TestPg8000(PersistenceContract):
    @pytest.fixture
    def persistence(self, clock: FakeClock, postgres_server: PostgresServer) -> Iterator[SqlPersistence]:
        persistence = SqlPersistence(emptied(postgres_server), clock=clock)
        yield persistence
        persistence.close()


@pytest.mark.postgres
class TestPsycopg(PersistenceContract):
    @pytest.fixture
    def persistence(self, clock: FakeClock, postgres_server: PostgresServer) -> Iterator[SqlPersistence]:
        persistence = SqlPersistence(emptied(postgres_server, "psycopg"), clock=clock)
        yield persistence
        persistence.close()
