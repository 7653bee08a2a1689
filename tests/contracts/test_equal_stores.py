"""SQLite and PostgreSQL give the answers and keep the rows that the reference in memory does, for random changes."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from engine.adapters.memory.persistence import InMemoryPersistence
from engine.adapters.sql.persistence import SqlPersistence
from engine.ports.persistence import Persistence
from engine.ports.transaction import Tx
from engine.testing.clock import FakeClock
from engine.testing.contracts.equality import compare
from engine.testing.contracts.random_changes import KEYS, random_steps
from engine.testing.contracts.rows import AT, a_key
from tests.support.postgres import PostgresServer
from tests.unit.sql.stores import emptied


def compare_with_memory(store: Persistence, clock: FakeClock, random: Random, count: int) -> None:
    store.transact(_forget)
    clock.advance(AT - clock.now())
    steps = random_steps(random, count)
    note("\n".join(map(repr, steps)))
    compare(store, InMemoryPersistence(clock), steps, clock)


def _forget(tx: Tx) -> None:
    tx.runs.delete(["r"])
    for key in KEYS:
        tx.keys.delete(a_key(key))


@pytest.fixture(scope="module")
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="module")
def sqlite(clock: FakeClock, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlPersistence]:
    folder: Path = tmp_path_factory.mktemp("equal")
    store = SqlPersistence(f"sqlite:///{folder}/engine.db", clock=clock)
    yield store
    store.close()


@pytest.fixture(scope="module")
def postgres(clock: FakeClock, postgres_server: PostgresServer) -> Iterator[SqlPersistence]:
    store = SqlPersistence(emptied(postgres_server, "psycopg"), clock=clock)
    yield store
    store.close()


@settings(max_examples=60, deadline=None)
@given(random=st.randoms(), count=st.integers(0, 12))
def test_sqlite_writes_the_rows_that_memory_writes(
    sqlite: SqlPersistence, clock: FakeClock, random: Random, count: int
) -> None:
    compare_with_memory(sqlite, clock, random, count)


@pytest.mark.postgres
@settings(max_examples=60, deadline=None)
@given(random=st.randoms(), count=st.integers(0, 12))
def test_postgres_writes_the_rows_that_memory_writes(
    postgres: SqlPersistence, clock: FakeClock, random: Random, count: int
) -> None:
    compare_with_memory(postgres, clock, random, count)
