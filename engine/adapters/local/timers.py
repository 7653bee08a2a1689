"""A Scheduler for one process: wakes are kept in memory until a host takes those that are due."""

import itertools
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from heapq import heappop, heappush
from typing import Any

from engine.domain.stored_value import Json


class InProcessTimers:
    """Lost with the process: the maintenance tick finds what was due then."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._order = itertools.count()
        self._wakes: list[tuple[datetime, int, Mapping[str, Any]]] = []

    def wake(self, command: Mapping[str, Json], at: datetime) -> None:
        with self._lock:
            heappush(self._wakes, (at, next(self._order), dict(command)))

    def take_due(self, now: datetime) -> Sequence[Mapping[str, Any]]:
        """Commands whose time has come, each once, earliest first."""
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
