"""The view of a run on a terminal: one line per stage, redrawn in place."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from types import TracebackType
from typing import Self

from rich.cells import cell_len
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from engine.cli.following import Moment, StageNow
from engine.cli.formats import money, one_line, seconds
from engine.cli.printing import COLOURS
from engine.cli.timeline import Split
from engine.domain.lifecycle import Status

WIDE = 90
"""The terminal widths that have room for a bar, and for the parts of a duration."""

_SIGNS = {
    Status.PENDING: "·",
    Status.RUNNING: "▶",
    Status.SUSPENDED: "◷",
    Status.COMPLETED: "✔",
    Status.FAILED: "✘",
    Status.CANCELLED: "⊘",
    Status.SKIPPED: "-",
}
_NAME_WIDTHS = {True: 28, False: 20}
_BAR = 16


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
    parts = [Text(run.workflow_id, style="bold"), Text(run_id), status, Text(seconds(moment.elapsed))]
    if run.total_cost:
        parts.append(Text(money(run.total_cost)))
    return _fitted(Text(" · ").join(parts), width)


def _stage_lines(moment: Moment, width: int, *, with_logs: bool) -> Iterator[Text]:
    name_width = min(_NAME_WIDTHS[width >= WIDE], max((cell_len(stage.name) for stage in moment.stages), default=0))
    for _, members in groupby(moment.stages, key=lambda stage: stage.group):
        group = list(members)
        for number, stage in enumerate(group):
            edge = _edge(number, len(group))
            yield _fitted(_stage_line(stage, moment, edge, name_width, wide=width >= WIDE), width)
            if with_logs and (said := _last_words(stage)):
                below = "│" if edge not in {" ", "╰"} else " "
                yield _fitted(Text(f"{below}    {said}", style="red" if _failed(stage) else "dim"), width)


def _edge(number: int, count: int) -> str:
    """The bracket that joins the stages of a parallel group."""
    if count == 1:
        return " "
    return "╭" if number == 0 else "╰" if number == count - 1 else "│"


def _stage_line(stage: StageNow, moment: Moment, edge: str, name_width: int, *, wide: bool) -> Text:
    style = COLOURS[stage.status]
    name = Text(stage.name)
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
    if stage.status is Status.COMPLETED:
        return 1.0
    reported = (stage.record.progress or {}).get("progress", 0.0) if stage.record else 0.0
    return min(1.0, max(0.0, float(reported)))


def _notes(stage: StageNow, moment: Moment, *, wide: bool) -> str:
    record = stage.record
    notes = [f"{_progress(stage):.0%}"] if stage.status is Status.RUNNING and _progress(stage) else []
    if record is not None and record.total_cost:
        notes.append(money(record.total_cost))
    if stage.job is not None and stage.job.attempt > 1:
        notes.append(f"attempt {stage.job.attempt} of {stage.job.max_attempts}")
    if record is not None and record.generation:
        notes.append(f"generation {record.generation}")
    if record is not None and stage.status is Status.SUSPENDED and record.next_poll_at:
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
    if _failed(stage) and stage.record is not None:
        return one_line(stage.record.error_message or "")
    if stage.status not in {Status.RUNNING, Status.SUSPENDED} or stage.record is None:
        return ""
    return one_line(str((stage.record.progress or {}).get("message") or stage.last_log or ""))


def _failed(stage: StageNow) -> bool:
    return stage.record is not None and stage.record.error_message is not None


def _fitted(line: Text, width: int) -> Text:
    line.no_wrap = True
    line.truncate(width, overflow="ellipsis")
    return line
