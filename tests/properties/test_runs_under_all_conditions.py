import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from engine.adapters.memory.persistence import InMemoryPersistence
from engine.ports.persistence import Persistence
from engine.testing import FakeClock
from tests.kernel.stores import emptied, open_store
from tests.properties.run_machine import RunMachine


def explore(machine: type[RunMachine], examples: int, steps: int) -> None:
    bounds = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    run_state_machine_as_test(machine, settings=bounds)


def test_runs_stay_sound_in_memory() -> None:
    class Machine(RunMachine):
        @staticmethod
        def open_store(clock: FakeClock) -> Persistence:
            return InMemoryPersistence(clock)

    explore(Machine, examples=250, steps=50)


def test_runs_stay_sound_in_sqlite(sqlite_template: Path, tmp_path: Path) -> None:
    class Machine(RunMachine):
        @staticmethod
        def open_store(clock: FakeClock) -> Persistence:
            path = tmp_path / "engine.db"
            shutil.copy(sqlite_template, path)
            for leftover in ("-wal", "-shm"):
                path.with_name(path.name + leftover).unlink(missing_ok=True)
            return open_store(f"sqlite:///{path}", clock)

    explore(Machine, examples=12, steps=40)


@pytest.mark.postgres
def test_runs_stay_sound_in_postgresql(postgres_database: str) -> None:
    class Machine(RunMachine):
        @staticmethod
        def open_store(clock: FakeClock) -> Persistence:
            return open_store(emptied(postgres_database), clock)

    explore(Machine, examples=12, steps=40)
