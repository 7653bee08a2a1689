from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from engine.domain.values import Json


class Scheduler(Protocol):
    """Schedules wake-ups: commands that are dispatched at a later time.

    `command` is a command's JSON form with the id of its run. The same command scheduled twice for one time may be
    dispatched once or twice; a command that finds nothing to do is a no-op. A wake-up may be late, never early.
    """

    def wake(self, command: Mapping[str, Json], at: datetime) -> None: ...
