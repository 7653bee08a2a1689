from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """The time. Always aware and in UTC."""

    def now(self) -> datetime: ...
