"""The view of a run in a pipe or a log: one uncut line per log and event."""

from types import TracebackType
from typing import Self, TextIO

from engine.cli.following import Moment
from engine.cli.lines import moment_lines


class PlainView:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.flush()

    def show(self, moment: Moment) -> None:
        for line in moment_lines(moment):
            self._stream.write(f"{line}\n")
        self._stream.flush()
