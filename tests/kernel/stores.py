"""Empty stores for tests: in memory, in a SQLite file, in a database of a real PostgreSQL server.

A SQLite database is migrated once and then copied, a PostgreSQL database emptied before each test.
"""

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pg8000.native
import pytest
from sqlalchemy import make_url

from engine.adapters.memory.persistence import InMemoryPersistence
from engine.adapters.sql.migrate import migrate
from engine.adapters.sql.persistence import SqlPersistence
from engine.adapters.sql.schema import METADATA
from engine.definition.workflow import Workflow
from engine.ports.clock import Clock
from engine.ports.persistence import Persistence
from engine.testing import FakeClock, FixedIds
from tests.kernel.bench import Bench
from tests.support.postgres import PostgresServer

POSTGRES = pytest.param("postgres", marks=pytest.mark.postgres)
DATABASES = ("sqlite", POSTGRES)
STORES = ("memory", *DATABASES)

in_memory = pytest.mark.parametrize("store_kind", ["memory"], indirect=True)
in_databases = pytest.mark.parametrize("store_kind", DATABASES, indirect=True)
in_postgres = pytest.mark.parametrize("store_kind", [POSTGRES], indirect=True)

type MakeBench = Callable[..., Bench]


@pytest.fixture(params=STORES)
def store_kind(request: pytest.FixtureRequest) -> str:
    """Every store, unless the test says `@in_memory` or `@in_databases`."""
    kind: str = request.param
    return kind


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "engine.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_database(postgres_server: PostgresServer) -> str:
    url = postgres_server.create_database()
    migrate(url)
    return url


@pytest.fixture
def store_url(store_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty, migrated database."""
    match store_kind:
        case "sqlite":
            shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "engine.db")
            return f"sqlite:///{tmp_path / 'engine.db'}"
        case "postgres":
            return emptied(request.getfixturevalue("postgres_database"))
        case _:
            return "memory"


def emptied(url: str) -> str:
    """Deletes all rows, which is ten times cheaper than a new database."""
    place = make_url(url)
    connection = pg8000.native.Connection(
        "postgres", host=place.host or "", port=place.port or 0, database=place.database, ssl_context=False
    )
    try:
        connection.run("SET lock_timeout = '10s'")
        for table in reversed(METADATA.sorted_tables):
            connection.run(f"DELETE FROM {table.name}")
    finally:
        connection.close()
    return url


def open_store(url: str, clock: Clock | None, **options: Any) -> Persistence:
    """`clock` None leaves the time to the database."""
    if url == "memory":
        return InMemoryPersistence(clock or FakeClock())
    return SqlPersistence(url, clock=clock, **options)


@pytest.fixture
def persistence(store_url: str, clock: FakeClock) -> Iterator[Persistence]:
    store = open_store(store_url, clock, pool_size=10)
    yield store
    store.close()


@pytest.fixture
def make_bench(persistence: Persistence, clock: FakeClock) -> MakeBench:
    """Makes kernels over the test's store, each with ids of its own."""
    seeds = itertools.count()

    def make(*workflows: Workflow[Any, Any], **parts: Any) -> Bench:
        given = {"clock": clock, "persistence": persistence, "ids": FixedIds(next(seeds)), **parts}
        return Bench(*workflows, **given)

    return make
