"""The JobTransport within one process: workers are threads that wait for notifications here."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from heapq import heappop, heappush

from engine.ports.job_transport import JobNotification

logger = logging.getLogger(__name__)

type Listener = Callable[[Sequence[JobNotification]], None]


class InProcessJobTransport:
    """Wakes every waiting thread, at once and again when a delay is over."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._notification_count = 0
        self._later: list[float] = []
        self._listeners: list[Listener] = []

    def notify(self, notifications: Sequence[JobNotification]) -> None:
        """Listeners are called in this thread; what they raise is logged."""
        if not notifications:
            return
        with self._changed:
            for notification in notifications:
                if notification.delay > 0:
                    heappush(self._later, time.monotonic() + notification.delay)
            self._notification_count += 1
            self._changed.notify_all()
        for listener in tuple(self._listeners):
            self._tell(listener, notifications)

    def wake_all(self) -> None:
        """Ends every wait, as when a host stops."""
        with self._changed:
            self._notification_count += 1
            self._changed.notify_all()

    def add_listener(self, listener: Listener) -> Callable[[], None]:
        """Gives a function that removes the listener again."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    @property
    def notification_count(self) -> int:
        """The number of notifications. Read it before a claim and pass it to `wait`: then none is missed."""
        with self._changed:
            return self._notification_count

    def wait(self, timeout: float, *, since: int | None = None) -> bool:
        """Waits for a notification after `since`, or from now, for at most `timeout` seconds. True when one came."""
        end = time.monotonic() + timeout
        with self._changed:
            seen = self._notification_count if since is None else since
            while self._notification_count == seen:
                now = time.monotonic()
                self._notify_what_is_due(now)
                if self._notification_count != seen or now >= end:
                    break
                self._changed.wait(min([end, *self._later[:1]]) - now)
            return self._notification_count != seen

    def _notify_what_is_due(self, now: float) -> None:
        while self._later and self._later[0] <= now:
            heappop(self._later)
            self._notification_count += 1
            self._changed.notify_all()

    def _tell(self, listener: Listener, notifications: Sequence[JobNotification]) -> None:
        try:
            listener(notifications)
        except Exception:  # a listener must not undo what is committed already
            logger.exception("a listener for notifications failed")
