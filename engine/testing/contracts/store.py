"""What every part of the persistence suite stands on."""

from functools import partial

import pytest

from engine.ports.persistence import Persistence
from engine.ports.transaction import Tx
from engine.testing.clock import FakeClock
from engine.testing.contracts.rows import a_run


class StoreContract:
    """A subclass gives the fixture `persistence`: an empty store that goes by `clock`."""

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def persistence(self) -> Persistence:
        raise NotImplementedError("give a fixture `persistence` that takes `clock`")

    @pytest.fixture
    def store(self, persistence: Persistence) -> Persistence:
        """The store with the runs "r" and "s" in it, that nothing was done with."""
        for run_id in ("r", "s"):
            persistence.transact(partial(_insert, run_id=run_id))
        return persistence


def _insert(tx: Tx, run_id: str) -> None:
    tx.runs.insert(a_run(run_id))
