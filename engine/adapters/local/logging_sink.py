import logging

from engine.domain.events import Event

logger = logging.getLogger("engine.events")


class LoggingSink:
    """Writes each event to the log of the process, at level DEBUG."""

    max_retries = 3

    def emit(self, event: Event, *, skip: frozenset[str] = frozenset()) -> None:  # noqa: ARG002 — there is one receiver
        logger.debug("%s %s", event.type, event.id, extra={"event": event.payload()})
