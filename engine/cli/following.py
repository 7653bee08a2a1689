"""Follows a run by polling: its stages and the parts of their durations, and each log and event once."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from engine.definition.workflow import Workflow
from engine.domain.lifecycle import ENDED_RUNS, StageStatus
from engine.domain.records import JobRecord, LogRecord, OutboxRecord, RunRecord, StageRecord
from engine.ports.reads import Reads, RunView

PAGE = 1000
LATE_LOGS = timedelta(seconds=15)
"""Seconds by which an older log line may appear after a newer one: parallel stages write their logs in batches."""


type Phase = Literal["queued", "running", "suspended", "ended"]


@dataclass(frozen=True, slots=True)
class Mark:
    """From `at` on the stage was in `phase`."""

    at: datetime
    phase: Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Seconds."""

    queued: float = 0.0
    running: float = 0.0
    suspended: float = 0.0

    @property
    def total(self) -> float:
        return self.queued + self.running + self.suspended


def mark_of(event: OutboxRecord) -> Mark | None:
    """The phase that the event starts; None if it starts none."""
    at = event.occurred_at
    match event.event_type:
        case "stage:started":
            return Mark(at, "running")
        case "stage:suspended":
            return Mark(at, "suspended")
        case "stage:failed":
            return Mark(at, "queued" if event.payload["will_retry"] else "ended")
        case "stage:completed":
            return Mark(at, "ended")
        case _:
            return None


def split(queued_at: datetime, marks: Iterable[Mark], until: datetime) -> Split:
    """The time from `queued_at` until the stage's end, or `until`."""
    spans = dict.fromkeys(("queued", "running", "suspended", "ended"), 0.0)
    ordered: Sequence[Mark] = [Mark(queued_at, "queued"), *marks]
    ends = [*(mark.at for mark in ordered[1:]), until]
    for mark, end in zip(ordered, ends, strict=True):
        spans[mark.phase] += max(0.0, (end - mark.at).total_seconds())
    return Split(queued=spans["queued"], running=spans["running"], suspended=spans["suspended"])


@dataclass(frozen=True, slots=True, kw_only=True)
class StageNow:
    """One stage of the workflow. Its record is None until the run reaches it."""

    id: str
    name: str
    group: int
    record: StageRecord | None = None
    job: JobRecord | None = None
    time: Split = field(default_factory=Split)
    last_log: str | None = None

    @property
    def status(self) -> StageStatus:
        return self.record.status if self.record else StageStatus.PENDING


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A snapshot: the run, all its stages, and the logs and events since the snapshot before."""

    at: datetime
    run: RunRecord
    stages: Sequence[StageNow]
    events: Sequence[OutboxRecord]
    logs: Sequence[LogRecord]

    @property
    def ended(self) -> bool:
        return self.run.status in ENDED_RUNS

    @property
    def elapsed(self) -> float:
        return ((self.run.completed_at or self.at) - self.run.created_at).total_seconds()


class Logs:
    """The log lines of a run, each once, in nearly chronological order."""

    def __init__(self, reads: Reads, run_id: str, stage_id: str | None = None) -> None:
        self._reads, self._run_id, self._stage_id = reads, run_id, stage_id
        self._anchor: str | None = None
        self._seen: set[str] = set()

    def new(self) -> list[LogRecord]:
        recent = self._since_anchor()
        fresh = [log for log in recent if log.id not in self._seen]
        settled = [log for log in recent if log.created_at < datetime.now(UTC) - LATE_LOGS]
        if settled:
            self._anchor = settled[-1].id
        self._seen = {log.id for log in recent[len(settled) :]}
        return fresh

    def _since_anchor(self) -> list[LogRecord]:
        found: list[LogRecord] = []
        after = self._anchor
        while True:
            page = self._reads.logs(self._run_id, after=after, stage_id=self._stage_id, limit=PAGE)
            found += page
            if len(page) < PAGE:
                return found
            after = page[-1].id


class Events:
    """The events of a run, each once, in order."""

    def __init__(self, reads: Reads, run_id: str) -> None:
        self._reads, self._run_id = reads, run_id
        self._last = 0

    def new(self) -> list[OutboxRecord]:
        found: list[OutboxRecord] = []
        while True:
            page = self._reads.events(self._run_id, after=self._last, limit=PAGE)
            found += page
            if page:
                self._last = page[-1].sequence
            if len(page) < PAGE:
                return found


class Follower:
    """Polls one run. `workflow` names the stages that have no record yet; without it they are not shown."""

    def __init__(self, reads: Reads, run_id: str, workflow: Workflow[Any, Any] | None) -> None:
        self._reads, self._run_id, self._workflow = reads, run_id, workflow
        self._logs, self._events = Logs(reads, run_id), Events(reads, run_id)
        self._marks: dict[tuple[str, int], list[Mark]] = {}
        self._last_log: dict[str, str] = {}

    def look(self) -> Moment:
        """Reads a snapshot. The run is read first: when it has ended, all its logs and events can be read."""
        view = self._reads.run(self._run_id)
        events, logs = self._events.new(), self._logs.new()
        for event in events:
            if mark := mark_of(event):
                self._marks.setdefault((event.payload["stage_id"], event.payload["generation"]), []).append(mark)
        self._last_log |= {log.stage_id: log.message for log in logs if log.stage_id is not None}
        now = datetime.now(UTC)
        return Moment(at=now, run=view.run, stages=self._stages(view, now), events=events, logs=logs)

    def _stages(self, view: RunView, now: datetime) -> list[StageNow]:
        records = {record.stage_id: record for record in view.stages}
        jobs = {job.stage_record_id: job for job in view.jobs}
        planned = self._planned() or {record.stage_id: _outline(record) for record in view.stages}
        planned |= {stage_id: _outline(record) for stage_id, record in records.items() if stage_id not in planned}
        return [self._now(stage, records.get(stage.id), jobs, view.run, now) for stage in planned.values()]

    def _planned(self) -> dict[str, StageNow]:
        groups = self._workflow.groups if self._workflow else ()
        return {
            stage.id: StageNow(id=stage.id, name=stage.name, group=number)
            for number, group in enumerate(groups, 1)
            for stage in group
        }

    def _now(
        self,
        stage: StageNow,
        record: StageRecord | None,
        jobs: Mapping[str, JobRecord],
        run: RunRecord,
        now: datetime,
    ) -> StageNow:
        if record is None:
            return stage
        marks = self._marks.get((record.stage_id, record.generation), ())
        return StageNow(
            id=stage.id,
            name=stage.name,
            group=stage.group,
            record=record,
            job=jobs.get(record.id),
            time=split(record.created_at, marks, record.completed_at or run.completed_at or now),
            last_log=self._last_log.get(record.stage_id),
        )


def _outline(record: StageRecord) -> StageNow:
    return StageNow(id=record.stage_id, name=record.stage_name, group=record.execution_group)
