"""The base of the persistence suites."""

import pytest

from engine.ports.persistence import Persistence
from engine.testing.clock import FakeClock
from engine.testing.contracts.changes import insert
from engine.testing.contracts.rows import a_run


class StoreContract:
    """A subclass provides the fixture `persistence`: an empty store on `clock`."""

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def persistence(self) -> Persistence:
        raise NotImplementedError("give a fixture `persistence` that takes `clock`")

    @pytest.fixture
    def store(self, persistence: Persistence) -> Persistence:
        """The store with two new runs, "r" and "s"."""
        for run_id in ("r", "s"):
            insert(persistence, a_run(run_id))
        return persistence
