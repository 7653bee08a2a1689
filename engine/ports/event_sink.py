from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from engine.domain.events import Event


class SinkUnavailable(Exception):
    """The sink could not be reached (throttling, time-out, 5xx). A retry may succeed, so the failure is not counted."""


class EventSink(Protocol):
    """The destination of published events.

    `emit` delivers one event or raises: `SinkUnavailable` if a retry may succeed, any other error if the event was
    refused. An event may be emitted more than once; consumers recognise it by `event.id`. `skip` contains the names of
    receivers that have handled the event; `PartiallyDelivered` names those that succeeded before a failure. After
    `max_retries` refusals an event is moved to the dead-letter queue.
    """

    max_retries: int

    def emit(self, event: Event, *, skip: frozenset[str] = frozenset()) -> None: ...


@runtime_checkable
class BatchingSink(EventSink, Protocol):
    """A sink that takes several events in one call."""

    def emit_first(self, events: Sequence[Event]) -> int:
        """Delivers as many of the first events as one call takes. Gives the number delivered before the first failure.

        Raises nothing when the sink refuses an event: that event is then emitted alone, which raises its error. Later
        events of the call may have been delivered too, and are delivered again.
        """


class PartiallyDelivered(Exception):
    """Some receivers failed. `delivered` names those that had not."""

    def __init__(self, delivered: frozenset[str], cause: Exception) -> None:
        self.delivered, self.cause = delivered, cause
        super().__init__(f"{type(cause).__name__}: {cause}")
