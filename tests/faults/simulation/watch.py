"""Looks at all rows after every commit, and hands what changed to the rules."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from engine.domain.lifecycle import JobStatus, RunStatus, StageStatus
from engine.domain.records import JobRecord, OutboxRecord, RunRecord, StageRecord
from engine.execution.attempt import Attempt
from tests.faults.simulation.faults import Point
from tests.faults.simulation.processes import Machine, Process
from tests.faults.simulation.rules import RULES

if TYPE_CHECKING:
    from tests.faults.simulation.world import World

type Pairs[R] = list[tuple[R | None, R | None]]
"""Rows before and after a commit; None is no row."""


@dataclass(frozen=True, slots=True)
class Commit:
    """What one call of the store changed, and who called it."""

    by: Process | None
    point: Point
    now: datetime
    runs: Pairs[RunRecord]
    stages: Pairs[StageRecord]
    jobs: Pairs[JobRecord]
    events: Pairs[OutboxRecord]

    @property
    def machine(self) -> Machine | None:
        return self.by.machine if self.by else None

    @property
    def name(self) -> str:
        return self.by.name if self.by else "nobody"

    def run_ids(self) -> set[str]:
        """Of all runs whose own rows, stages or jobs changed."""
        rows = [row for pairs in (self.stages, self.jobs) for pair in pairs for row in pair if row is not None]
        ended = {run.id for _, run in self.runs if run is not None}
        return ended | {row.workflow_run_id for row in rows}


@dataclass(slots=True)
class Holders:
    """Which machine or process took what: jobs by lease, stages by poll claim, events by the outbox's claim."""

    jobs: dict[str, Machine | None] = field(default_factory=dict)
    stages: dict[str, Process | None] = field(default_factory=dict)
    events: dict[str, Process | None] = field(default_factory=dict)


class Watch:
    def __init__(self, world: "World") -> None:
        self.world = world
        self.tables = world.store._tables
        self.runs: Mapping[str, RunRecord] = {}
        self.stages: Mapping[str, StageRecord] = {}
        self.jobs: Mapping[str, JobRecord] = {}
        self._events: Mapping[str, OutboxRecord] = {}
        self.holders = Holders()
        self.completed_by: dict[str, str] = {}
        """Stage record → the token of the claim, or poll, that completed it."""
        self.notes: dict[str, tuple[int, int]] = {}
        self.last_events: dict[str, OutboxRecord] = {}
        """Run → its last event but annotations."""

    def look(self, point: Point) -> None:
        tables = self.tables
        commit = Commit(
            self.world.current,
            point,
            self.world.clock.now(),
            _changes(self.runs, tables.runs._rows),
            _changes(self.stages, tables.stages._rows),
            _changes(self.jobs, tables.jobs._rows),
            _changes(self._events, tables.outbox._rows),
        )
        for old, new in commit.runs:
            if old is None and new is not None:
                self.world.name_run(new)
        try:
            for rule in RULES:
                rule(self, commit)
        except Exception as error:  # the engine may catch it, as it does what bodies and plugins raise
            self.world.failure = self.world.failure or error
            raise
        self.runs, self.stages = dict(tables.runs._rows), dict(tables.stages._rows)
        self.jobs, self._events = dict(tables.jobs._rows), dict(tables.outbox._rows)

    # What the rules and the answers ask

    def fail(self, why: str) -> None:
        self.world.fail(why)

    def reached(self, state: str) -> None:
        self.world.reached(state)

    def stages_of(self, run_id: str) -> list[StageRecord]:
        return _of_run(self.tables.stages, run_id)

    def jobs_of(self, run_id: str) -> list[JobRecord]:
        return _of_run(self.tables.jobs, run_id)

    def run(self, run_id: str) -> RunRecord:
        row: RunRecord = self.tables.runs._rows[run_id]
        return row

    def event(self, run_id: str, sequence: int) -> OutboxRecord:
        row: OutboxRecord = self.tables.outbox._rows[f"{run_id}.{sequence}"]
        return row

    def notes_of(self, run_id: str) -> tuple[int, int]:
        """How many logs the run has, and annotations of its stages."""
        annotations = _of_run(self.tables.annotations, run_id)
        return len(self.tables.logs._of_run.get(run_id, ())), sum(each.scope == "stage" for each in annotations)

    def first_open_event(self, run_id: str) -> OutboxRecord | None:
        rows = _of_run(self.tables.outbox, run_id)
        return next((event for event in rows if event.published_at is None and event.dlq_at is None), None)

    def has_stage(self, record_id: str) -> bool:
        return record_id in self.tables.stages._rows

    def has_token(self, token: str) -> bool:
        return any(job.lease_token == token for job in self.jobs.values())

    def is_leased(self, job_id: str) -> bool:
        job = self.tables.jobs._rows.get(job_id)
        return job is not None and job.status is JobStatus.RUNNING

    def is_held_by(self, attempt: Attempt) -> bool:
        """Whether nothing stands between the attempt and its commit."""
        job = self.tables.jobs._rows.get(attempt.claim.job.id)
        stage = self.tables.stages._rows.get(attempt.claim.stage.id)
        run = self.tables.runs._rows[attempt.claim.run.id]
        if job is None or stage is None or run.status is not RunStatus.RUNNING:
            return False
        return (job.status, job.lease_token, stage.status) == (
            JobStatus.RUNNING,
            attempt.token,
            StageStatus.RUNNING,
        )

    def check_cancelled(self, run_id: str) -> None:
        """A cancel that succeeded has been committed: if the run is RUNNING, it was run again since."""
        last = self.last_events[run_id]
        if self.run(run_id).status is RunStatus.RUNNING and last.event_type == "workflow:cancelled":
            self.fail(f"run {run_id} goes on after its cancellation")


def _of_run(table: Any, run_id: str) -> list[Any]:
    return [table._rows[row_id] for row_id in table._of_run.get(run_id, ())]


def _changes[R](before: Mapping[str, R], after: Mapping[str, R]) -> Pairs[R]:
    changed: Pairs[R] = [(before.get(row_id), row) for row_id, row in after.items() if before.get(row_id) is not row]
    if len(before) + sum(old is None for old, _ in changed) != len(after):
        changed += [(row, None) for row_id, row in before.items() if row_id not in after]
    return changed
