"""Formats values for people, and parses durations."""

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from pydantic_core import to_jsonable_python

from engine.domain.errors import InvalidInput
from engine.domain.shortened import shortened

SHORT_ID = 13
"""Characters of a UUIDv7 that hold its millisecond; runs of the same millisecond need more."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw]?)")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""C0 without tab and line feed, DEL, C1, and the characters that end a line or turn the direction of text."""


def parse_duration(text: str) -> timedelta:
    """`90d`, `12h`, `30m`, `45s`, `2w`; a plain number is seconds. Raises `InvalidInput`."""
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None:
        raise InvalidInput(f"{shortened(text)} is not a duration; write a number and s, m, h, d or w, such as 90d")
    try:
        return timedelta(seconds=float(match[1]) * _UNITS[match[2] or "s"])
    except OverflowError as error:
        raise InvalidInput(f"{shortened(text)} is too long a duration; write fewer days") from error


def parse_age(text: str) -> timedelta:
    """A duration that leads from now to a date of the calendar. Raises `InvalidInput`."""
    age = parse_duration(text)
    try:
        datetime.now(UTC) - age
    except OverflowError as error:
        raise InvalidInput(f"{shortened(text)} ago is before the year 1; write fewer days") from error
    return age


def seconds(value: float) -> str:
    if value < 1:
        return f"{round(value * 1000)} ms"
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours:02} h"
    return f"{hours} h {minutes:02} m" if hours else f"{minutes} m {rest:02} s"


def milliseconds(value: int | None) -> str:
    return "" if value is None else seconds(value / 1000)


def money(dollars: float) -> str:
    if dollars == 0:
        return "$0"
    return f"${dollars:.2f}" if dollars >= 1 else f"${dollars:.6f}".rstrip("0")


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def cost(dollars: float, unknown: int) -> str:
    """Formats a cost. `unknown` is the number of calls without a known price."""
    if not unknown:
        return money(dollars)
    return f"{f'{money(dollars)} + ' if dollars else ''}unknown ({counted(unknown, 'call')})"


def size(count: int) -> str:
    """Bytes."""
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def instant(at: datetime | None) -> str:
    """ISO 8601 in UTC, to the millisecond."""
    return "" if at is None else f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z"


def local_time(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}"


def printable(text: str) -> str:
    """The text without characters that control a terminal or the direction of text."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def json_text(value: object, *, indent: int | None = None) -> str:
    """JSON for a terminal or a pipe: the same value, its control characters as escapes."""
    text = json.dumps(to_jsonable_python(value), ensure_ascii=False, indent=indent)
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def one_line(text: str) -> str:
    return printable(" ".join(text.split()))


def short_id(run_id: str, among: Iterable[str] = ()) -> str:
    """The shortest prefix that differs from those of the other ids."""
    others = [other for other in among if other != run_id]
    length = SHORT_ID
    while any(other.startswith(run_id[:length]) for other in others) and length < len(run_id):
        length += 1
    return run_id[:length]
