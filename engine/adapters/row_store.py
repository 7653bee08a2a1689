"""Writes, decisions and claims over plain rows, for memory and SQLite. The caller holds the store's only write lock."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from engine.domain.lifecycle import JobStatus, StageStatus
from engine.domain.records import JobRecord, OutboxRecord, RunRecord, StageRecord
from engine.domain.values import StoredValue
from engine.ports.changes import Changes, Check, Delete, Insert, Refused, Update, Write, Written
from engine.ports.persistence import Claim, ClaimRequest, Decision, NoClaim
from engine.ports.transaction import Tx
from engine.transitions.claim_job import claim_job

_FIRST_PAGE = 8


class WriteRefused(Exception):
    """A condition does not hold, so the transaction is rolled back."""


class Rows(Protocol):
    """The rows of one transaction under an exclusive lock. `now` is the store's time.

    Writing methods give the number of rows that they wrote or found.
    """

    @property
    def now(self) -> datetime: ...
    def insert(self, insert: Insert) -> int: ...
    def update(self, update: Update, at: datetime) -> int: ...
    def delete(self, delete: Delete) -> int: ...
    def check(self, check: Check) -> int: ...
    def append_events(self, records: list[OutboxRecord]) -> None: ...

    def last_event(self, run_id: str) -> tuple[int, datetime]:
        """The sequence and time of the run's last event, from the run's row."""

    def select[R: (RunRecord, StageRecord, JobRecord)](self, record: type[R], where: Mapping[str, Any]) -> list[R]:
        """Rows with these values, in any order."""

    def due_jobs(self, pools: Sequence[str], limit: int) -> list[JobRecord]:
        """PENDING jobs due now, by rank."""


def write_changes(rows: Rows, changes: Changes) -> Written:
    """Raises `WriteRefused`; the caller rolls back."""
    for step in changes.steps():
        if _write_step(rows, step, changes.at) < _required_rows(step):
            raise WriteRefused
    if not changes.events:
        return Written(changes=changes, now=rows.now)
    last, stamp = rows.last_event(changes.run_id)
    rows.append_events(_outbox_records(changes, last, stamp))
    return Written(changes=changes, now=rows.now, last_sequence=last)


def _write_step(rows: Rows, step: Write, at: datetime) -> int:
    match step:
        case Insert():
            return rows.insert(step)
        case Delete():
            return rows.delete(step)
        case Check():
            return rows.check(step)
        case _:
            return rows.update(step, at)


def _required_rows(step: Write) -> int:
    match step:
        case Insert(skip_existing=True):
            return 0
        case Insert():
            return len(step.rows)
        case Check():
            return 1
        case _:
            return len(step.ids)


def _outbox_records(changes: Changes, last: int, at: datetime) -> list[OutboxRecord]:
    """The events as rows. `last` is the sequence of the last of them."""
    first = last - len(changes.events) + 1
    return [
        OutboxRecord(
            id=f"{changes.run_id}.{sequence}",
            workflow_run_id=changes.run_id,
            sequence=sequence,
            event_type=event.type,
            payload=event.stored_payload(),
            occurred_at=at,
            causation_id=changes.causation_id,
        )
        for sequence, event in enumerate(changes.events, first)
    ]


class LockedRows:
    """`LockedRun` over rows under an exclusive lock."""

    def __init__(self, rows: Rows, tx: Tx, run_id: str, job_id: str | None) -> None:
        self._rows, self._run_id, self.tx = rows, run_id, tx
        self.run = find(rows, RunRecord, run_id)
        self.job = find(rows, JobRecord, job_id) if job_id is not None else None
        self.stage = find(rows, StageRecord, self.job.stage_record_id) if self.job else None

    def stages(self) -> Sequence[StageRecord]:
        return stages_of_run(self._rows, self._run_id)

    def jobs(self) -> Sequence[JobRecord]:
        found = self._rows.select(JobRecord, {"workflow_run_id": self._run_id})
        return sorted(found, key=lambda job: (job.created_at, job.id))


def find[R: (RunRecord, StageRecord, JobRecord)](rows: Rows, record: type[R], row_id: str) -> R | None:
    found = rows.select(record, {"id": row_id})
    return found[0] if found else None


def stages_of_run(rows: Rows, run_id: str, **where: Any) -> list[StageRecord]:
    found = rows.select(StageRecord, {"workflow_run_id": run_id, **where})
    return sorted(found, key=lambda stage: (stage.execution_group, stage.stage_number, stage.id))


def decide_over_rows(rows: Rows, tx: Tx, run_id: str, decision: Decision, job_id: str | None) -> Written | Refused:
    """Implements `Persistence.decide` in the caller's transaction. Raises `WriteRefused`."""
    decided = decision(LockedRows(rows, tx, run_id, job_id))
    return decided if isinstance(decided, Refused) else write_changes(rows, decided)


def claim_over_rows(rows: Rows, request: ClaimRequest) -> Claim | NoClaim:
    """Implements `Persistence.claim` in the caller's transaction."""
    if request.job_id is not None:
        return _claim(rows, request, find(rows, JobRecord, request.job_id))
    for job in _due(rows, request):
        claim = _claim(rows, request, job)
        if isinstance(claim, Claim):
            return claim
    return NoClaim()


def _due(rows: Rows, request: ClaimRequest) -> Iterator[JobRecord]:
    if request.run_id is None:
        yield from _due_in_pools(rows, request.pools)
        return
    pending = rows.select(JobRecord, {"workflow_run_id": request.run_id, "status": JobStatus.PENDING})
    due = [job for job in pending if job.pool in request.pools and job.due_at <= rows.now]
    yield from sorted(due, key=lambda job: (job.rank, job.id))


def _due_in_pools(rows: Rows, pools: tuple[str, ...]) -> Iterator[JobRecord]:
    """Reads a further page only if no job of the earlier ones was claimable."""
    limit, seen = _FIRST_PAGE, 0
    while True:
        jobs = rows.due_jobs(pools, limit)
        yield from jobs[seen:]
        if len(jobs) < limit:
            return
        limit, seen = limit * 8, limit


def _claim(rows: Rows, request: ClaimRequest, job: JobRecord | None) -> Claim | NoClaim:
    if job is None:
        return NoClaim()
    run, stage = find(rows, RunRecord, job.workflow_run_id), find(rows, StageRecord, job.stage_record_id)
    changes = claim_job(run, stage, job, request, rows.now)
    if isinstance(changes, NoClaim):
        return changes
    write_changes(rows, changes)
    held, started = find(rows, JobRecord, job.id), find(rows, StageRecord, job.stage_record_id)
    claimed_run = find(rows, RunRecord, job.workflow_run_id)
    assert held is not None
    assert started is not None
    assert claimed_run is not None
    return Claim(run=claimed_run, stage=started, job=held, previous=_outputs_before(rows, started))


def _outputs_before(rows: Rows, stage: StageRecord) -> Mapping[str, StoredValue]:
    """The outputs of the previous group, in the order of the pipeline."""
    before = {"execution_group": stage.execution_group - 1, "status": StageStatus.COMPLETED}
    found = stages_of_run(rows, stage.workflow_run_id, **before)
    return {each.stage_id: each.output_data for each in found if each.output_data is not None}
