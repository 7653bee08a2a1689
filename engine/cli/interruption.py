"""Ctrl-C and SIGTERM during work on a run: the first stops gracefully, the second at once."""

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

from engine.cli.printing import note


class Interruption:
    """A context manager that handles both signals. Use it in the main thread."""

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self._happened = threading.Event()
        self._before: dict[signal.Signals, Any] = {}
        self.exit_code = 0

    def __enter__(self) -> Self:
        self._before = {each: signal.signal(each, self._handle) for each in self.SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)

    def __bool__(self) -> bool:
        return self._happened.is_set()

    def wait(self, seconds: float | None) -> bool:
        """Sleeps for so many seconds, or until a signal. True when a signal has come."""
        return self._happened.wait(seconds)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._happened.is_set():
            os._exit(128 + number)
        self.exit_code = 128 + number
        self._happened.set()


def say_stopping(grace: float) -> None:
    note(f"stopping: running stages have {grace:g} s to end; interrupt again to stop at once")
