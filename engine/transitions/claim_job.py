"""The claim of a job, which starts its stage. Memory and SQLite use this decision.

The race: two workers claim the same due job, or one claims a job whose worker is about to renew an expired lease. Here
the caller holds the store's only write lock, so no row changes between these checks and the write. A claim puts a new
token on the job; the finish of the earlier worker names the old token and is refused. PostgreSQL makes the same
decision in `engine_claim_v1.sql`, under row locks and with SKIP LOCKED.
"""

from datetime import datetime

from engine.domain.events import StageStarted
from engine.domain.lifecycle import JobStatus, RunStatus, StageStatus
from engine.domain.records import JobRecord, RunRecord, StageRecord
from engine.ports.changes import Changes, FromNow, JobUpdate, RunUpdate
from engine.ports.persistence import ClaimRequest, NoClaim
from engine.transitions.moves import move_job, move_stage

_STARTABLE = frozenset({StageStatus.PENDING, StageStatus.FAILED, StageStatus.SUSPENDED, StageStatus.RUNNING})


def claim_job(
    run: RunRecord | None, stage: StageRecord | None, job: JobRecord, request: ClaimRequest, now: datetime
) -> Changes | NoClaim:
    """`now` is the store's time. A repeated claim, of a job RUNNING under the same token, only renews the lease."""
    if run is None or run.status is not RunStatus.RUNNING or run.failure_code is not None:
        return NoClaim()
    if stage is None or stage.status not in _STARTABLE:
        return NoClaim()
    lease = request.lease
    if job.status is JobStatus.RUNNING and job.lease_token == lease.token:
        renewed = JobUpdate(ids=(job.id,), set={"lease_until": FromNow(lease.seconds)})
        return Changes(run_id=run.id, at=request.at, writes=(renewed,))
    if not _is_claimable(job, now):
        return NoClaim(later_at=_claimable_at(job))
    return _start(run, stage, job, request)


def _is_claimable(job: JobRecord, now: datetime) -> bool:
    if job.status is JobStatus.PENDING:
        return job.due_at <= now
    return _may_be_taken_over(job) and job.lease_until is not None and job.lease_until <= now


def _claimable_at(job: JobRecord) -> datetime | None:
    if job.status is JobStatus.PENDING:
        return job.due_at
    return job.lease_until if _may_be_taken_over(job) else None


def _may_be_taken_over(job: JobRecord) -> bool:
    return job.status is JobStatus.RUNNING and job.attempt < job.max_attempts


def _start(run: RunRecord, stage: StageRecord, job: JobRecord, request: ClaimRequest) -> Changes:
    lease = request.lease
    started = move_stage(
        stage, StageStatus.RUNNING, {"started_at": request.at, "completed_at": None, "duration_ms": None}
    )
    held = move_job(
        job,
        JobStatus.RUNNING,
        {"worker_id": lease.worker_id, "lease_token": lease.token, "lease_until": FromNow(lease.seconds)},
    )
    held = JobUpdate(ids=held.ids, set=held.set, expect=held.expect, add={"attempt": 1})
    event = StageStarted.of(run, stage, request.at, attempt=job.attempt + 1)
    return Changes(run_id=run.id, at=request.at, run=RunUpdate(ids=(run.id,)), writes=(started, held), events=(event,))
