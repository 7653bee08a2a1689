from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from engine.adapters.memory.table import Table
from engine.adapters.memory.tables import Tables
from engine.domain.lifecycle import JobStatus
from engine.domain.records import (
    AnnotationRecord,
    ArtifactRecord,
    JobRecord,
    KeyRecord,
    LogRecord,
    OutboxRecord,
    RunRecord,
    StageRecord,
)
from engine.ports.changes import (
    PASSED,
    AtLeast,
    Check,
    Condition,
    Delete,
    FromNow,
    Insert,
    Record,
    Update,
)


class MemoryRows:
    """`Rows` in dictionaries, with the unique constraints and foreign keys of a database."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._of: Mapping[type, Table[Any]] = {
            RunRecord: tables.runs,
            StageRecord: tables.stages,
            JobRecord: tables.jobs,
            LogRecord: tables.logs,
            ArtifactRecord: tables.artifacts,
            AnnotationRecord: tables.annotations,
            KeyRecord: tables.keys,
        }

    @property
    def now(self) -> datetime:
        return self._tables.clock.now()

    def insert(self, insert: Insert) -> int:
        now = self.now
        times = {name: now + timedelta(seconds=seconds) for name, seconds in insert.from_now.items()}
        return sum(self._insert(record, times) for record in insert.rows)

    def _insert(self, record: Record, times: Mapping[str, datetime]) -> bool:
        table, row_id = self._of[type(record)], _id_of(record)
        if not isinstance(record, RunRecord | KeyRecord):
            self._tables.belongs(record.workflow_run_id)
        if isinstance(record, AnnotationRecord) and record.stage_record_id is not None:
            self._tables.stages.get(record.stage_record_id)
        if row_id in table or self._is_taken(record):
            return False
        table.insert(row_id, record)
        if times:
            table.update(row_id, times)
        return True

    def _is_taken(self, record: Record) -> bool:
        match record:
            case StageRecord():
                rows = self._tables.stages.of_run(record.workflow_run_id)
                return any(row.stage_id == record.stage_id for row in rows)
            case AnnotationRecord() if record.idempotency_key is not None:
                key = (record.key, record.idempotency_key)
                rows_ = self._tables.annotations.of_run(record.workflow_run_id)
                return any((row.key, row.idempotency_key) == key for row in rows_)
            case _:
                return False

    def update(self, update: Update, at: datetime) -> int:
        table, now = self._of[update.record], self.now
        return sum(self._update(table, row_id, update, at, now) for row_id in update.ids)

    def _update(self, table: Table[Any], row_id: str, update: Update, at: datetime, now: datetime) -> bool:
        row = table.find(row_id)
        if row is None or not _holds(update.expect, row, now):
            return False
        patch = {name: _value(value, now) for name, value in update.set.items()}
        patch |= {name: getattr(row, name) + value for name, value in update.add.items()}
        patch |= {name: _later(getattr(row, name), value) for name, value in update.latest.items()}
        table.update(row_id, {**patch, "updated_at": at})
        return True

    def delete(self, delete: Delete) -> int:
        return sum(self._delete(row_id) for row_id in delete.ids)

    def _delete(self, row_id: str) -> bool:
        stage = self._tables.stages.find(row_id)
        if stage is None:
            return False
        for annotation in self._tables.annotations.of_run(stage.workflow_run_id):
            if annotation.stage_record_id == row_id:
                self._tables.annotations.update(annotation.id, {"stage_record_id": None})
        return self._tables.stages.delete(row_id)

    def check(self, check: Check) -> int:
        row = self._of[check.record].find(check.id)
        return int(row is not None and _holds(check.expect, row, self.now))

    def select[R: (RunRecord, StageRecord, JobRecord)](self, record: type[R], where: Mapping[str, Any]) -> list[R]:
        table: Table[R] = self._of[record]
        if "id" in where:
            row = table.find(where["id"])
            return [row] if row is not None else []
        rows = table.of_run(where["workflow_run_id"])
        return [row for row in rows if all(getattr(row, name) == value for name, value in where.items())]

    def due_jobs(self, pools: Sequence[str], limit: int) -> list[JobRecord]:
        wanted, now = frozenset(pools), self.now
        pending = self._tables.jobs.where(lambda job: job.status is JobStatus.PENDING and job.pool in wanted)
        found = [job for job in pending if job.due_at <= now]
        return sorted(found, key=lambda job: (job.rank, job.id))[:limit]

    def last_event(self, run_id: str) -> tuple[int, datetime]:
        run = self._tables.runs.get(run_id)
        assert run.last_event_at is not None, "the update of the run counts its events"
        return run.event_seq, run.last_event_at

    def append_events(self, records: list[OutboxRecord]) -> None:
        for record in records:
            self._tables.outbox.insert(record.id, record)


def _id_of(record: Record) -> str:
    if isinstance(record, KeyRecord):
        return "\x00".join((record.tenant, record.command_type, record.key))
    return record.id


def _holds(condition: Condition, row: object, now: datetime) -> bool:
    return all(_meets(getattr(row, name), wanted, now) for name, wanted in condition.items())


def _meets(value: Any, wanted: Any, now: datetime) -> bool:
    match wanted:
        case AtLeast(least):
            return value is not None and value >= least
        case frozenset():
            return value in wanted
        case _ if wanted is PASSED:
            return value is not None and value <= now
        case _:
            return bool(value == wanted)


def _value(value: Any, now: datetime) -> Any:
    return now + timedelta(seconds=value.seconds) if isinstance(value, FromNow) else value


def _later(before: datetime | None, at: datetime) -> datetime:
    return at if before is None else max(before, at)
