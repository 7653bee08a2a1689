import threading

from engine.domain.events import Event


class CollectingEventSink:
    """Keeps every event in order. Each call first raises the next of `failures`."""

    def __init__(self, *, max_retries: int = 3) -> None:
        self.max_retries = max_retries
        self.events: list[Event] = []
        self.failures: list[Exception] = []
        self._lock = threading.Lock()

    def emit(self, event: Event, *, skip: frozenset[str] = frozenset()) -> None:  # noqa: ARG002 — it is one sink without names
        with self._lock:
            if self.failures:
                raise self.failures.pop(0)
            self.events.append(event)

    def types(self) -> list[str]:
        return [event.type for event in self.events]
