"""Releases the leases of workers that died, stopped, or gave a job up."""

from dataclasses import replace
from datetime import timedelta

from engine.domain.lifecycle import Status
from engine.domain.records import JobRecord, LogLevel, LogRecord, RunRecord, StageRecord
from engine.kernel.deps import Deps
from engine.kernel.notifying import notify, schedule_wakeup
from engine.kernel.steps.advance_run import stage_failed, workflow_failed
from engine.kernel.steps.open_group import DecisionContext
from engine.ports.job_transport import JobNotification
from engine.ports.write_set import Closes, JobChange, StageChange, Verdict, WriteSet

EXPIRED_CODE = "LEASE_EXPIRED"

MOST_ATTEMPTS = 20
"""A release after so many attempts is counted: a job that is always released must end some time."""


def release_lease(
    job: JobRecord,
    deps: Deps,
    *,
    expired: bool,
    uncounted: bool = False,
    seconds: float = 0.0,
    reason: str | None = None,
) -> bool:
    """Ends the lease the job was read with: PENDING again, due in `seconds`, or FAILED once its attempts are spent.

    With `expired` only if the lease has run out on the store's clock; without, at once (its worker is known to be
    dead, or gives the job up). False when somebody else was faster.
    """
    run_id = job.workflow_run_id
    run, stages = deps.persistence.read(lambda tx: (tx.runs.find(run_id), tx.stages.of_run(run_id)))
    stage = next((record for record in stages if record.id == job.stage_record_id), None)
    if run is None or stage is None:
        return False
    now = DecisionContext.of(deps.clock, deps.ids)
    uncounted = uncounted and job.attempt < MOST_ATTEMPTS
    spent = job.attempt >= job.max_attempts and not uncounted
    change = JobChange(
        job_id=job.id,
        to=Status.FAILED if spent else Status.PENDING,
        token=job.lease_token,
        expired=expired,
        uncounted=uncounted,
        due_in=seconds,
        error=reason,
    )
    if seconds and not spent:
        schedule_wakeup(run.id, now.at + timedelta(seconds=seconds), deps)
    write_set = _fail(change, job, run, stage, now) if spent else _release(change, job, run, stage, now)
    released = deps.persistence.apply(write_set).verdict is Verdict.APPLIED
    if released and not spent and not seconds:
        notify([notification_of(job, run)], deps)
    return released


def _release(change: JobChange, job: JobRecord, run: RunRecord, stage: StageRecord, now: DecisionContext) -> WriteSet:
    how = "was given up by" if change.uncounted else "lost its lease on"
    reason = f": {change.error}" if change.error else ""
    return WriteSet(
        run_id=run.id,
        at=now.at,
        job=change,
        stage=StageChange(record_id=stage.id, status_in=frozenset({Status.RUNNING}), patch={"status": Status.PENDING}),
        failed_event=workflow_failed(run, now),
        logs=(_log(LogLevel.WARN, f"attempt {job.attempt} {how} worker {job.worker_id}{reason}", run, stage, now),),
    )


def _fail(change: JobChange, job: JobRecord, run: RunRecord, stage: StageRecord, now: DecisionContext) -> WriteSet:
    how = f"gave it up ({change.error})" if change.error else "stopped responding"
    message = f"LeaseExpired: worker {job.worker_id} {how} in attempt {job.attempt} of {job.max_attempts}"
    patch = {
        "status": Status.FAILED,
        "error_code": EXPIRED_CODE,
        "error_message": message,
        "completed_at": now.at,
    }
    return WriteSet(
        run_id=run.id,
        at=now.at,
        run={"failure_code": EXPIRED_CODE, "failure_message": message},
        job=replace(change, error=message),
        stage=StageChange(record_id=stage.id, status_in=frozenset({Status.RUNNING}), patch=patch),
        closes=Closes.GROUP,
        failed_event=workflow_failed(run, now),
        logs=(_log(LogLevel.ERROR, message, run, stage, now),),
        events=(stage_failed(run, stage, now, code=EXPIRED_CODE, message=message, will_retry=False),),
    )


def _log(level: LogLevel, message: str, run: RunRecord, stage: StageRecord, now: DecisionContext) -> LogRecord:
    return LogRecord(
        id=now.ids.new(),
        workflow_run_id=run.id,
        level=level,
        message=message,
        created_at=now.at,
        stage_id=stage.stage_id,
        stage_record_id=stage.id,
    )


def notification_of(job: JobRecord, run: RunRecord) -> JobNotification:
    return JobNotification(
        job_id=job.id,
        workflow_run_id=run.id,
        workflow_id=run.workflow_id,
        stage_id=job.stage_id,
        pool=job.pool,
        tenant=run.tenant,
    )
