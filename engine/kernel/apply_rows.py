"""How a transition changes jobs, stages and groups."""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from typing import Any, Self

from engine.domain.events import Event
from engine.domain.lifecycle import OPEN, Status, check_move
from engine.domain.records import JobRecord, RunRecord, StageRecord
from engine.kernel.apply_guards import Targets, find_stage
from engine.ports.transaction import Tx
from engine.ports.write_set import JobChange, JobDraft, Lease, OpenGroup, Patch, WriteSet


@dataclass(slots=True)
class RunDraft:
    """A run on its way from one state to the next, and the events that tell of it."""

    before: RunRecord
    run: RunRecord
    events: list[Event] = field(default_factory=list)
    lease_until: datetime | None = None

    @classmethod
    def of(cls, run: RunRecord, patch: Patch) -> Self:
        draft = cls(run, run)
        draft.set(**patch)
        return draft

    def set(self, **columns: Any) -> None:
        check_move("run", self.run.status, columns.get("status", self.run.status))
        self.run = replace(self.run, **columns)

    def spend(self, cost: float, tokens: int) -> None:
        self.set(total_cost=self.run.total_cost + cost, total_tokens=self.run.total_tokens + tokens)

    def changes(self) -> Patch:
        names = (column.name for column in fields(RunRecord))
        return {name: value for name in names if (value := getattr(self.run, name)) != getattr(self.before, name)}


@dataclass(frozen=True, slots=True)
class Opened:
    """How many stages of a group are open once its rows are there, and the end of the lease on its job."""

    open: int
    lease_until: datetime | None


def gives_up(ws: WriteSet, run: RunRecord) -> bool:
    """A failing run waits for bodies that run, not for tries or polls to come."""
    return ws.job is not None and ws.job.to in {Status.PENDING, Status.SUSPENDED} and run.failure_code is not None


def change_job(tx: Tx, ws: WriteSet, job: JobRecord | None, *, cancel: bool) -> datetime | None:
    """Gives the end of a renewed lease."""
    if job is None or ws.job is None:
        return None
    to = Status.CANCELLED if cancel else ws.job.to
    check_move("job", job.status, to)
    patch = {"status": to, "updated_at": ws.at, **_taken_from_holder(job, ws.job), **_timing(tx, ws.job, to)}
    if ws.job.error is not None:
        patch["last_error"] = ws.job.error
    if ws.job.uncounted:
        patch["max_attempts"] = job.max_attempts + 1
    changed = tx.jobs.update(job.id, patch)
    return None if ws.job.renew is None else changed.lease_until


def _taken_from_holder(job: JobRecord, change: JobChange) -> Patch:
    taken = change.token is None or change.expired
    if taken and job.status is Status.RUNNING and change.to is not Status.RUNNING:
        return {"lease_token": None}
    return {}


def _timing(tx: Tx, change: JobChange, to: Status) -> Patch:
    if to is Status.RUNNING:
        return {} if change.renew is None else {"lease_until": tx.now() + timedelta(seconds=change.renew)}
    if to is Status.PENDING:
        due = tx.now() + timedelta(seconds=change.due_in)
        return {"due_at": due, "lease_until": None, "worker_id": None}
    return {"lease_until": None}


def cancel_job(tx: Tx, job: JobRecord, at: datetime) -> None:
    """Somebody else's decision: a job that was RUNNING loses its token."""
    check_move("job", job.status, Status.CANCELLED)
    patch = {"status": Status.CANCELLED, "lease_until": None, "updated_at": at}
    taken = {"lease_token": None} if job.status is Status.RUNNING else {}
    tx.jobs.update(job.id, patch | taken)


def change_stage(tx: Tx, ws: WriteSet, targets: Targets, *, cancel: bool) -> StageRecord | None:
    """Gives the stage as it is now, if it was changed."""
    stage, patch = targets.stage, dict(ws.stage.patch) if ws.stage else {}
    if cancel:
        if stage is None and targets.job is not None:
            stage = find_stage(tx, targets.job.stage_record_id)
        patch |= {"status": Status.CANCELLED, "completed_at": ws.at}
    if stage is None or (cancel and stage.status not in OPEN):
        return None
    check_move("stage", stage.status, patch.get("status", stage.status))
    spent = {
        "total_cost": patch.get("total_cost", stage.total_cost) + ws.cost,
        "total_tokens": patch.get("total_tokens", stage.total_tokens) + ws.tokens,
    }
    return tx.stages.update(stage.id, {**patch, **spent, "updated_at": ws.at})


def cancel_stage(tx: Tx, stage: StageRecord, at: datetime) -> None:
    check_move("stage", stage.status, Status.CANCELLED)
    tx.stages.update(stage.id, {"status": Status.CANCELLED, "completed_at": at, "updated_at": at})


def remove_stages(tx: Tx, ws: WriteSet) -> None:
    if not ws.removes:
        return
    for job in tx.jobs.of_run(ws.run_id):
        if job.stage_record_id in ws.removes and job.status in OPEN:
            cancel_job(tx, job, ws.at)
    tx.stages.delete(ws.removes)


def open_group(tx: Tx, draft: RunDraft, group: OpenGroup, at: datetime) -> None:
    opened = insert_group(tx, draft.run, group, at)
    draft.set(group_no=group.group_no, group_open=opened.open)
    draft.lease_until = opened.lease_until
    draft.events += group.events


def insert_group(tx: Tx, run: RunRecord, group: OpenGroup, at: datetime) -> Opened:
    stages = group.stages if group.lease is None else [_started(stage, at) for stage in group.stages]
    inserted = tx.stages.insert_missing(stages)
    if len(inserted) == len(stages):
        return Opened(len(stages), _insert_jobs(tx, run.id, group.jobs, at, group.lease))
    return _complete_group(tx, run, group, at, inserted)


def _complete_group(tx: Tx, run: RunRecord, group: OpenGroup, at: datetime, inserted: frozenset[str]) -> Opened:
    """Some of the group's records were there before: they stay, and those PENDING without a job get one."""
    present = {stage.stage_id: stage for stage in tx.stages.of_run(run.id)}
    busy = {job.stage_record_id for job in tx.jobs.of_run(run.id) if job.status in OPEN}
    drafts = []
    for job in group.jobs:
        record = present[job.stage_id]
        if record.id not in inserted and (record.status is not Status.PENDING or record.id in busy):
            continue
        drafts.append(replace(job, stage_record_id=record.id))
        if group.lease is not None and record.id not in inserted:
            tx.stages.update(record.id, {"status": Status.RUNNING, "started_at": at, "updated_at": at})
    lease_until = _insert_jobs(tx, run.id, drafts, at, group.lease)
    return Opened(sum(present[stage.stage_id].status in OPEN for stage in group.stages), lease_until)


def _started(stage: StageRecord, at: datetime) -> StageRecord:
    check_move("stage", stage.status, Status.RUNNING)
    return replace(stage, status=Status.RUNNING, started_at=at)


def recreate_missing_jobs(tx: Tx, ws: WriteSet) -> None:
    """Jobs for records that wait without one."""
    if not ws.jobs:
        return
    waiting = {stage.id for stage in tx.stages.of_run(ws.run_id) if stage.status is Status.PENDING}
    busy = {job.stage_record_id for job in tx.jobs.of_run(ws.run_id) if job.status in OPEN}
    _insert_jobs(tx, ws.run_id, [job for job in ws.jobs if job.stage_record_id in waiting - busy], ws.at, None)


def _insert_jobs(tx: Tx, run_id: str, drafts: Iterable[JobDraft], at: datetime, lease: Lease | None) -> datetime | None:
    """Gives the end of the lease, if one was taken."""
    jobs = [_job(tx, run_id, draft, at, lease) for draft in drafts]
    if not jobs:
        return None
    tx.jobs.insert(jobs)
    return jobs[0].lease_until


def _job(tx: Tx, run_id: str, draft: JobDraft, at: datetime, lease: Lease | None) -> JobRecord:
    now = tx.now()
    pending = JobRecord(
        id=draft.id,
        workflow_run_id=run_id,
        stage_record_id=draft.stage_record_id,
        stage_id=draft.stage_id,
        pool=draft.pool,
        status=Status.PENDING,
        due_at=now,
        created_at=at,
        updated_at=at,
        priority=draft.priority,
        max_attempts=draft.max_attempts,
        trace_context=draft.trace_context,
    )
    return pending if lease is None else leased(pending, lease, now)


def leased(job: JobRecord, lease: Lease, now: datetime) -> JobRecord:
    """The job claimed once more."""
    return replace(
        job,
        status=Status.RUNNING,
        attempt=job.attempt + 1,
        worker_id=lease.worker_id,
        lease_token=lease.token,
        lease_until=now + timedelta(seconds=lease.seconds),
    )
