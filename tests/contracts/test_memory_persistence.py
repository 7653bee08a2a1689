import pytest

from engine.adapters.memory.persistence import InMemoryPersistence
from engine.domain.errors import StoreError
from engine.testing.clock import FakeClock
from engine.testing.contracts.persistence import PersistenceContract


class TestInMemoryPersistence(PersistenceContract):
    @pytest.fixture
    def persistence(self, clock: FakeClock) -> InMemoryPersistence:
        return InMemoryPersistence(clock)


def test_a_transaction_inside_a_transaction_is_refused_as_one_connection_would() -> None:
    persistence = InMemoryPersistence(FakeClock())
    with pytest.raises(StoreError, match="second connection"):
        persistence.transact(lambda _: persistence.read(lambda tx: tx.now()))
    assert persistence.read(lambda tx: tx.now()) == FakeClock().now()


def test_no_part_of_the_contract_hides_a_test_of_another() -> None:
    def tests(cls: type) -> list[str]:
        return [name for name in vars(cls) if name.startswith("test_")]

    parts = [name for part in PersistenceContract.__bases__ for name in tests(part)]
    assert sorted(parts) == sorted(set(parts))
