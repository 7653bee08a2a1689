"""Formats each log and event as one line, for pipes, `logs` and `events`."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from engine.cli.following import Moment
from engine.cli.formats import instant, milliseconds, money, one_line, printable
from engine.domain.records import LogRecord, OutboxRecord
from engine.domain.stored_value import Json


def moment_lines(moment: Moment) -> Iterator[str]:
    """The new lines in order of time."""
    lines = [(event_time(event), event_line(event)) for event in moment.events]
    lines += [(log.created_at, log_line(log)) for log in moment.logs]
    yield from (line for _, line in sorted(lines, key=lambda line: line[0]))


def event_time(event: OutboxRecord) -> datetime:
    return datetime.fromisoformat(event.payload["timestamp"])


def log_line(log: LogRecord) -> str:
    details = {name: value for name, value in (log.metadata or {}).items() if name != "trace" and value is not None}
    what = printable(log.message).replace("\n", "\n    ") + _details(details)
    return f"{instant(log.created_at)} {log.stage_id or 'run'} {log.level} {what}"


def event_line(event: OutboxRecord) -> str:
    subject = event.payload.get("stage_id") or "run"
    verb = event.event_type.partition(":")[2]
    if event.event_type == "workflow:suspended":
        subject = "run"
    extra = one_line(_said(event.event_type, event.payload))
    return f"{instant(event_time(event))} {subject} {verb}" + (f": {extra}" if extra else "")


def _said(event_type: str, payload: Mapping[str, Any]) -> str:
    say = EVENT_FORMATTERS.get(event_type)
    return say(payload) if say else ""


def _started(payload: Mapping[str, Any]) -> str:
    attempt = payload.get("attempt", 1)
    return f"attempt {attempt}" if attempt > 1 else ""


def _completed(payload: Mapping[str, Any]) -> str:
    tokens = f", {payload['total_tokens']} tokens" if payload.get("total_tokens") else ""
    return f"{milliseconds(payload.get('duration_ms'))}, {money(payload.get('total_cost', 0.0))}{tokens}"


def _failed(payload: Mapping[str, Any]) -> str:
    again = " (will be tried again)" if payload.get("will_retry") else ""
    return f"{payload['error']}{again}"


EVENT_FORMATTERS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "stage:started": _started,
    "stage:progress": lambda payload: f"{payload['progress']:.0%} {payload.get('message') or ''}",
    "stage:completed": _completed,
    "stage:failed": _failed,
    "stage:suspended": lambda payload: f"next check at {payload['next_poll_at']}",
    "workflow:completed": _completed,
    "workflow:failed": _failed,
    "workflow:cancelled": lambda payload: payload.get("reason") or "",
    "workflow:suspended": lambda payload: f"waits for {payload['stage_id']}",
    "annotation:created": lambda payload: f"{payload['key']} = {payload['value']!r}",
}


def _details(details: Mapping[str, Json]) -> str:
    return "".join(f" {name}={one_line(str(value))}" for name, value in details.items())
