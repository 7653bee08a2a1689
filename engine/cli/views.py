"""Views of a run: one line per stage, redrawn in place on a terminal; elsewhere a line for each log and event."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import groupby
from types import TracebackType
from typing import Any, Protocol, Self, TextIO

from rich.cells import cell_len
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from engine.cli.following import Moment, Split, StageNow
from engine.cli.formats import instant, milliseconds, money, one_line, printable, seconds
from engine.cli.printing import COLOURS, console
from engine.domain.lifecycle import StageStatus
from engine.domain.records import LogRecord, OutboxRecord
from engine.domain.values import Json

WIDE = 90
"""The terminal width with room for a bar and for the parts of a duration."""

_SIGNS = {
    StageStatus.PENDING: "·",
    StageStatus.RUNNING: "▶",
    StageStatus.SUSPENDED: "◷",
    StageStatus.COMPLETED: "✔",
    StageStatus.FAILED: "✘",
    StageStatus.CANCELLED: "⊘",
    StageStatus.SKIPPED: "-",
}
_NAME_WIDTHS = {True: 28, False: 20}
_BAR = 16


class View(Protocol):
    def show(self, moment: Moment) -> None: ...


def view_for(*, as_json: bool, lines: bool) -> AbstractContextManager[View]:
    """The live view on a terminal, else the plain view. With JSON it goes to stderr, because stdout has the JSON."""
    stream = sys.stderr if as_json else sys.stdout
    screen = console(stderr=as_json)
    if lines or not stream.isatty() or screen.is_dumb_terminal:
        return PlainView(stream)
    return LiveView(screen)


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
            self._stream.write(f"{printable(line)}\n")
        self._stream.flush()


def moment_lines(moment: Moment) -> Iterator[str]:
    """The new lines in order of time."""
    lines = [(event.occurred_at, event_line(event)) for event in moment.events]
    lines += [(log.created_at, log_line(log)) for log in moment.logs]
    yield from (line for _, line in sorted(lines, key=lambda line: line[0]))


def log_line(log: LogRecord) -> str:
    details = {name: value for name, value in (log.metadata or {}).items() if name != "trace" and value is not None}
    what = log.message.replace("\n", "\n    ") + _details(details)
    return f"{instant(log.created_at)} {log.stage_id or 'run'} {log.level} {what}"


def event_line(event: OutboxRecord) -> str:
    subject = event.payload.get("stage_id") or "run"
    verb = event.event_type.partition(":")[2]
    if event.event_type == "workflow:suspended":
        subject = "run"
    formatter = EVENT_FORMATTERS.get(event.event_type)
    extra = one_line(formatter(event.payload)) if formatter else ""
    return f"{instant(event.occurred_at)} {subject} {verb}" + (f": {extra}" if extra else "")


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
    return "".join(f" {one_line(name)}={one_line(str(value))}" for name, value in details.items())


class LiveView:
    """Draws each snapshot. Other output appears above it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="visible")

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, moment: Moment) -> None:
        self._live.update(drawn(moment, self._console.width, self._console.height), refresh=True)


def drawn(moment: Moment, width: int, height: int) -> Group:
    """The whole view. A low screen shows only the most important lines; logs of running stages are cut first."""
    header = _header(moment, width)
    lines = list(_stage_lines(moment, width, with_logs=True))
    if len(lines) + 3 > height:
        lines = list(_stage_lines(moment, width, with_logs=False))
    room = max(3, height - 3)
    if len(lines) > room:
        lines = [*lines[: room - 1], Text(f"  … and {len(lines) - room + 1} more lines", style="dim")]
    return Group(header, *lines)


def _header(moment: Moment, width: int) -> Text:
    run = moment.run
    status = Text(run.status.value, style=COLOURS[run.status])
    run_id = run.id if width >= WIDE else run.id[:13]
    parts = [Text(one_line(run.workflow_id), style="bold"), Text(run_id), status, Text(seconds(moment.elapsed))]
    if run.total_cost:
        parts.append(Text(money(run.total_cost)))
    return _fitted(Text(" · ").join(parts), width)


def _stage_lines(moment: Moment, width: int, *, with_logs: bool) -> Iterator[Text]:
    name_width = min(
        _NAME_WIDTHS[width >= WIDE], max((cell_len(one_line(stage.name)) for stage in moment.stages), default=0)
    )
    for _, members in groupby(moment.stages, key=lambda stage: stage.group):
        group = list(members)
        for number, stage in enumerate(group):
            edge = _edge(number, len(group))
            yield _fitted(_stage_line(stage, moment, edge, name_width, wide=width >= WIDE), width)
            if with_logs and (said := _last_words(stage)):
                below = "│" if edge not in {" ", "╰"} else " "
                yield _fitted(Text(f"{below}    {said}", style="red" if _has_failed(stage) else "dim"), width)


def _edge(number: int, count: int) -> str:
    """The bracket that joins the stages of a parallel group."""
    if count == 1:
        return " "
    return "╭" if number == 0 else "╰" if number == count - 1 else "│"


def _stage_line(stage: StageNow, moment: Moment, edge: str, name_width: int, *, wide: bool) -> Text:
    style = COLOURS[stage.status]
    name = Text(one_line(stage.name))
    name.truncate(name_width, overflow="ellipsis", pad=True)
    line = Text(f"{edge} ").append(f"{_SIGNS[stage.status]} ", style=style).append_text(name).append(" ")
    line.append(f"{stage.status.lower():<9} ", style=style)
    if wide:
        line.append_text(_bar(stage)).append(" ")
    if stage.record is not None:
        line.append(f"{seconds(stage.time.total):>8}")
        line.append(_notes(stage, moment, wide=wide), style="dim")
    return line


def _bar(stage: StageNow) -> Text:
    done = _progress(stage)
    filled = round(done * _BAR)
    return Text("━" * filled, style=COLOURS[stage.status]).append("─" * (_BAR - filled), style="dim")


def _progress(stage: StageNow) -> float:
    """The progress from 0 to 1."""
    if stage.status is StageStatus.COMPLETED:
        return 1.0
    reported = (stage.record.progress or {}).get("progress", 0.0) if stage.record else 0.0
    return min(1.0, max(0.0, float(reported)))


def _notes(stage: StageNow, moment: Moment, *, wide: bool) -> str:
    record = stage.record
    notes = [f"{_progress(stage):.0%}"] if stage.status is StageStatus.RUNNING and _progress(stage) else []
    if record is not None and record.total_cost:
        notes.append(money(record.total_cost))
    if stage.job is not None and stage.job.attempt > 1:
        notes.append(f"attempt {stage.job.attempt} of {stage.job.max_attempts}")
    if record is not None and record.generation:
        notes.append(f"generation {record.generation}")
    if record is not None and stage.status is StageStatus.SUSPENDED and record.next_poll_at:
        notes.append(f"next check in {seconds(max(0.0, (record.next_poll_at - moment.at).total_seconds()))}")
    if wide and (parts := _parts(stage.time)):
        notes.append(parts)
    return "".join(f"  {each}" for each in notes)


def _parts(time: Split) -> str:
    """The parts of a stage's duration, if it did more than run."""
    named: Sequence[tuple[str, float]] = (
        ("queued", time.queued),
        ("ran", time.running),
        ("suspended", time.suspended),
    )
    spent = [f"{name} {seconds(value)}" for name, value in named if value >= 0.05]
    return f"({', '.join(spent)})" if len(spent) > 1 else ""


def _last_words(stage: StageNow) -> str:
    if _has_failed(stage) and stage.record is not None:
        return one_line(stage.record.error_message or "")
    if stage.status not in {StageStatus.RUNNING, StageStatus.SUSPENDED} or stage.record is None:
        return ""
    return one_line(str((stage.record.progress or {}).get("message") or stage.last_log or ""))


def _has_failed(stage: StageNow) -> bool:
    return stage.record is not None and stage.record.error_message is not None


def _fitted(line: Text, width: int) -> Text:
    line.no_wrap = True
    line.truncate(width, overflow="ellipsis")
    return line
