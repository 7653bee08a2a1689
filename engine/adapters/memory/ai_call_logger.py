from datetime import UTC, datetime

from engine.adapters.memory.persistence import InMemoryPersistence
from engine.ai.call_log import CallLog


class _ProcessClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


class InMemoryAICallLogger(CallLog):
    """Calls in an `InMemoryPersistence`, by default one of its own."""

    def __init__(self, persistence: InMemoryPersistence | None = None) -> None:
        super().__init__(persistence or InMemoryPersistence(_ProcessClock()))
