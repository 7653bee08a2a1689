from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from engine.domain.events import Event


class SinkUnavailable(Exception):
    """The sink could not be reached (throttling, time-out, 5xx): try again later, without counting it as a failure."""


class EventSink(Protocol):
    """The destination of published events.

    `emit` delivers one event or raises: `SinkUnavailable` when trying again can help, anything else when the event
    was refused. It may be called more than once for one event; consumers tell by `event.id`. `skip` holds the names
    that are known to have handled it; `emit` raises `PartiallyDelivered` to say which names succeeded before a
    failure. `max_retries` is how many refusals put an event into the dead-letter queue.
    """

    max_retries: int

    def emit(self, event: Event, *, skip: frozenset[str] = frozenset()) -> None: ...


@runtime_checkable
class BatchingSink(EventSink, Protocol):
    """A sink that takes several events in one call."""

    def emit_first(self, events: Sequence[Event]) -> int:
        """Delivers events from the first on, as many as one call takes; gives how many arrived before one did not.

        Never raises for what the sink says: an event that did not arrive is emitted by itself, which tells why. Later
        ones of the same call may have arrived, and will again.
        """


class PartiallyDelivered(Exception):
    """Some receivers failed. `delivered` names those that had not."""

    def __init__(self, delivered: frozenset[str], cause: Exception) -> None:
        self.delivered, self.cause = delivered, cause
        super().__init__(f"{type(cause).__name__}: {cause}")
