from collections.abc import Mapping
from datetime import datetime

from engine.domain.values import Json


class NoopScheduler:
    """Records wake-ups and delivers none."""

    def __init__(self) -> None:
        self.wakes: list[tuple[Mapping[str, Json], datetime]] = []

    def wake(self, command: Mapping[str, Json], at: datetime) -> None:
        self.wakes.append((command, at))
