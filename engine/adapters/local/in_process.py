"""Notifications and wake-ups within one process."""

import itertools
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from heapq import heappop, heappush
from typing import Any

from engine.domain.values import Json
from engine.ports.job_transport import JobNotification

logger = logging.getLogger(__name__)

type Listener = Callable[[Sequence[JobNotification]], None]


class InProcessJobTransport:
    """Wakes all waiting threads, at once and again after each delay."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._notification_count = 0
        self._later: list[float] = []
        self._listeners: list[Listener] = []

    def notify(self, notifications: Sequence[JobNotification]) -> None:
        """Listeners are called in this thread; their errors are logged."""
        if not notifications:
            return
        with self._changed:
            for notification in notifications:
                if notification.delay > 0:
                    heappush(self._later, time.monotonic() + notification.delay)
            self._notification_count += 1
            self._changed.notify_all()
        for listener in tuple(self._listeners):
            self._call_listener(listener, notifications)

    def wake_all(self) -> None:
        """Ends all waits, because a host stops."""
        with self._changed:
            self._notification_count += 1
            self._changed.notify_all()

    def add_listener(self, listener: Listener) -> Callable[[], None]:
        """Returns a function that removes the listener."""
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
                self._notify_delayed(now)
                if self._notification_count != seen or now >= end:
                    break
                self._changed.wait(min([end, *self._later[:1]]) - now)
            return self._notification_count != seen

    def _notify_delayed(self, now: float) -> None:
        while self._later and self._later[0] <= now:
            heappop(self._later)
            self._notification_count += 1
            self._changed.notify_all()

    def _call_listener(self, listener: Listener, notifications: Sequence[JobNotification]) -> None:
        try:
            listener(notifications)
        except Exception:  # the jobs are committed: an error of a listener must not fail the caller
            logger.exception("a listener for notifications failed")


class InProcessTimers:
    """Timers in memory. If the process dies, the maintenance tick does their work."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._order = itertools.count()
        self._wakes: list[tuple[datetime, int, Mapping[str, Any]]] = []

    def wake(self, command: Mapping[str, Json], at: datetime) -> None:
        with self._lock:
            heappush(self._wakes, (at, next(self._order), dict(command)))

    def take_due(self, now: datetime) -> Sequence[Mapping[str, Any]]:
        """The commands that are due, each once, earliest first."""
        due: list[Mapping[str, Any]] = []
        with self._lock:
            while self._wakes and self._wakes[0][0] <= now:
                command = heappop(self._wakes)[2]
                if command not in due:
                    due.append(command)
        return due

    def next_at(self) -> datetime | None:
        with self._lock:
            return self._wakes[0][0] if self._wakes else None
