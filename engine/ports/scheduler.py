from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from engine.domain.values import Json


class Scheduler(Protocol):
    """Asks for a command to be dispatched at a time.

    `command` is a command's JSON form and names its run. The same command asked for twice at the same time may fire
    once or twice; a wake that finds nothing to do is a no-op. A wake may come late, never early.
    """

    def wake(self, command: Mapping[str, Json], at: datetime) -> None: ...
