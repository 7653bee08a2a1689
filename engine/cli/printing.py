"""Prints text: coloured and fitted to the width on a terminal; plain, uncut and with whole ids in a pipe."""

import logging
import sys
from collections.abc import Mapping, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from engine.cli.formats import json_text, one_line, printable

COLOURS: Mapping[str, str] = {
    "PENDING": "dim",
    "BLOCKED": "dim",
    "RUNNING": "cyan",
    "SUSPENDED": "magenta",
    "COMPLETED": "green",
    "FAILED": "red",
    "CANCELLED": "yellow",
    "SKIPPED": "dim",
}
"""The style of each status of a run, stage or job."""


def console(*, stderr: bool = False) -> Console:
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


def on_terminal() -> bool:
    return sys.stdout.isatty()


def say(text: str = "") -> None:
    sys.stdout.write(f"{printable(text)}\n")


def note(text: str) -> None:
    """Prints to stderr, for the user and never for the pipe."""
    sys.stderr.write(f"{printable(text)}\n")
    sys.stderr.flush()


class PrintableFormatter(logging.Formatter):
    """Formats log records for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def as_json(value: object) -> str:
    return json_text(value, indent=2)


def say_json(value: object) -> None:
    say(as_json(value))


def say_fields(fields: Sequence[tuple[str, object]]) -> None:
    """Prints one `name  value` per line, without empty values."""
    given = [(name, str(value)) for name, value in fields if value not in {None, ""}]
    width = max((len(name) for name, _ in given), default=0)
    for name, value in given:
        say(f"{name:<{width}}  {value}")


def say_table(headers: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str) -> None:
    """Prints a table, or `empty` when it has no rows. A terminal cuts it to its width; a pipe does not."""
    cells = [[one_line(str(value if value is not None else "")) for value in row] for row in rows]
    if not on_terminal():
        _say_plain_table(headers, cells)
    elif not cells:
        say(empty)
    else:
        console().print(_table(headers, cells))


def _say_plain_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    lines = [[header.upper() for header in headers], *rows]
    widths = [max(cell_len(line[column]) for line in lines) for column in range(len(headers))]
    for line in lines:
        padded = (cell + " " * (width - cell_len(cell)) for cell, width in zip(line, widths, strict=True))
        say("  ".join(padded).rstrip())


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in headers:
        table.add_column(header, no_wrap=True, overflow="ellipsis")
    for row in rows:
        table.add_row(*(_cell(cell) for cell in row))
    return table


def _cell(text: str) -> Text:
    return Text(text, style=COLOURS.get(text, ""))
