"""The repair of a run from its rows alone: it completes the work that a crash left half done."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from engine.definition.workflow import Workflow
from engine.domain.lifecycle import JobStatus, RunStatus, StageStatus
from engine.domain.records import LogLevel, StageRecord
from engine.ports.changes import Changes, Insert, Reason, Refused, RunUpdate
from engine.transitions.close_stage import Following, advance, output_of_group
from engine.transitions.context import DecisionContext
from engine.transitions.end_run import fail_run, log_of_run
from engine.transitions.open_group import insert_jobs, new_job
from engine.transitions.snapshots import RunSnapshot


class Need(StrEnum):
    NOTHING = "NOTHING"  # the run is terminal, or a job of it is still open
    JOBS = "JOBS"  # stages are PENDING without a job
    ADVANCE = "ADVANCE"  # the group is finished and the next one is not open
    FAIL = "FAIL"  # a stage failed for good and the run is still RUNNING
    STUCK = "STUCK"  # no job, no poll and no transition is left


def need_of(snapshot: RunSnapshot, workflow: Workflow[Any, Any] | None) -> Need:
    run = snapshot.run
    if run.status is not RunStatus.RUNNING:
        return Need.NOTHING
    group = snapshot.group()
    if _jobless(snapshot):
        return Need.JOBS
    if any(snapshot.job_of(stage) for stage in group):
        return Need.NOTHING
    if any(stage.status is StageStatus.FAILED for stage in group):
        return Need.FAIL
    return Need.ADVANCE if _is_finished(snapshot, workflow) else Need.STUCK


def _is_finished(snapshot: RunSnapshot, workflow: Workflow[Any, Any] | None) -> bool:
    group, group_no = snapshot.group(), snapshot.run.group_no
    if workflow is None or not 1 <= group_no <= workflow.group_count:
        return False
    complete = all(stage.status is StageStatus.COMPLETED for stage in group)
    return complete and len(group) == len(workflow.group(group_no))


def _jobless(snapshot: RunSnapshot) -> list[StageRecord]:
    """PENDING stages of the current group without an open job."""
    pending = (stage for stage in snapshot.group() if stage.status is StageStatus.PENDING)
    return [stage for stage in pending if snapshot.job_of(stage) is None]


def transition_run(
    snapshot: RunSnapshot, workflow: Workflow[Any, Any] | None, context: DecisionContext
) -> Changes | Refused:
    """Advances, completes or fails a run whose current group has no open job."""
    match need_of(snapshot, workflow):
        case Need.FAIL:
            failed = next(stage for stage in snapshot.group() if stage.status is StageStatus.FAILED)
            code, message = failed.error_code or "STAGE_FAILED", failed.error_message or "stage failed"
            return fail_run(snapshot, code, message, context)
        case Need.ADVANCE:
            return _advance(snapshot, workflow, context)
        case _:
            return Refused(Reason.NOTHING)


def _advance(snapshot: RunSnapshot, workflow: Workflow[Any, Any] | None, context: DecisionContext) -> Changes | Refused:
    run, group = snapshot.run, snapshot.group()
    if run.failure_code is not None:
        return fail_run(snapshot, run.failure_code, run.failure_message or "", context)
    last = max(group, key=lambda stage: stage.generation)
    output = output_of_group(group, last, last.output_data or {}, is_wide=len(group) > 1)
    effect = advance(
        run,
        last,
        Following(workflow=workflow, output=output),
        context,
        whole=snapshot,
        expect={"status": run.status, "version": run.version},
    )
    return Changes(run_id=run.id, at=context.at, run=effect.run, writes=effect.writes, events=effect.events)


def recreate_missing_jobs(
    snapshot: RunSnapshot, workflow: Workflow[Any, Any] | None, context: DecisionContext
) -> Changes | Refused:
    """Inserts a job for each PENDING stage that has none."""
    run = snapshot.run
    known = [(workflow.get_stage(record.stage_id), record) for record in _jobless(snapshot)] if workflow else []
    jobs = tuple(new_job(stage, record, run.priority, context) for stage, record in known if stage is not None)
    if run.status is not RunStatus.RUNNING or not jobs:
        return Refused(Reason.NOTHING)
    log = log_of_run(LogLevel.WARN, f"{len(jobs)} missing jobs were created again", snapshot, context)
    return Changes(
        run_id=run.id,
        at=context.at,
        run=RunUpdate(ids=(run.id,), expect={"status": run.status, "version": run.version}),
        writes=(*insert_jobs(jobs), Insert(rows=(log,))),
    )


def next_due(snapshot: RunSnapshot, now: datetime) -> datetime | None:
    """The earliest due job, lease end or poll of the run; None when it has none."""
    times = [job.due_at for job in snapshot.jobs if job.status is JobStatus.PENDING]
    times += [job.lease_until for job in snapshot.jobs if job.status is JobStatus.RUNNING and job.lease_until]
    polls = (stage.next_poll_at for stage in snapshot.stages if stage.status is StageStatus.SUSPENDED)
    times += [at for at in polls if at is not None]
    if snapshot.run.status is RunStatus.PENDING:
        times.append(now)
    return min(times, default=None)


def leased_until(snapshot: RunSnapshot) -> datetime | None:
    """The end of the last lease in the run; None when no job is leased."""
    leases: Sequence[datetime] = [
        job.lease_until for job in snapshot.jobs if job.status is JobStatus.RUNNING and job.lease_until is not None
    ]
    return max(leases, default=None)
