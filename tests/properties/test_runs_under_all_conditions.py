"""Random facts, on one store with the invariants of runs, and on all stores side by side.

`PROPERTY_EXAMPLES=5000 pytest tests/properties` looks deeper.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from engine.adapters.memory.persistence import InMemoryPersistence
from engine.ports.persistence import Persistence
from engine.testing import FakeClock
from tests.kernel.stores import emptied, open_store
from tests.properties.benches import Stores
from tests.properties.machine_state import MachineState
from tests.properties.run_machine import RunMachine, StoreMachine
from tests.properties.wrapped_persistence import CheckedPersistence

EXAMPLES = int(os.environ.get("PROPERTY_EXAMPLES", "0"))

pytestmark = pytest.mark.timeout(0 if EXAMPLES else 600)


def explore(machine: Callable[[Stores], MachineState], examples: int, stores: Stores) -> None:
    bounds = settings(
        max_examples=EXAMPLES or examples,
        stateful_step_count=50,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    run_state_machine_as_test(lambda: machine(stores), settings=bounds)  # type: ignore[arg-type]  # any factory will do


def in_memory(clock: FakeClock) -> Persistence:
    return CheckedPersistence(InMemoryPersistence(clock))


def test_runs_stay_sound_and_end() -> None:
    explore(RunMachine, examples=100, stores={"memory": in_memory})


@pytest.mark.postgres
def test_stores_stay_equal(sqlite_template: Path, tmp_path: Path, postgres_database: str) -> None:
    def in_sqlite(clock: FakeClock) -> Persistence:
        path = tmp_path / "engine.db"
        for leftover in ("-wal", "-shm"):
            path.with_name(path.name + leftover).unlink(missing_ok=True)
        shutil.copy(sqlite_template, path)
        return open_store(f"sqlite:///{path}", clock)

    def in_postgresql(clock: FakeClock) -> Persistence:
        return open_store(emptied(postgres_database), clock)

    explore(
        StoreMachine,
        examples=20,
        stores={"memory": in_memory, "SQLite": in_sqlite, "PostgreSQL": in_postgresql},
    )
