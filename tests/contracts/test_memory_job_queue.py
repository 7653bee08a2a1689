import pytest

from engine.adapters.local.job_queue import InMemoryJobQueue
from engine.adapters.memory.persistence import InMemoryPersistence
from engine.testing.clock import FakeClock
from engine.testing.contracts.job_queue import JobQueueContract


class TestInMemoryJobQueue(JobQueueContract):
    @pytest.fixture
    def persistence(self, clock: FakeClock) -> InMemoryPersistence:
        return InMemoryPersistence(clock)

    @pytest.fixture
    def queue(self, persistence: InMemoryPersistence) -> InMemoryJobQueue:
        return InMemoryJobQueue(persistence)
