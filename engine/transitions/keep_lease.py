"""A heartbeat: renews the lease and writes the logs and progress of the body."""

from datetime import datetime

from engine.domain.lifecycle import JobStatus, RunStatus, StageStatus
from engine.domain.records import RunRecord
from engine.ports.changes import Changes, Check, Condition, FromNow, Insert, JobUpdate, RunUpdate, StageUpdate, Write
from engine.ports.persistence import Claim
from engine.transitions.context import DecisionContext
from engine.transitions.facts import Recorded

_ACTIVE: Condition = {"status": RunStatus.RUNNING, "failure_code": None}


def keep_lease(claim: Claim, recorded: Recorded, seconds: float, context: DecisionContext) -> Changes:
    """Refused when the run has ended or is failing. Without progress the run's row is checked, not written."""
    run, stage, job, progress = claim.run, claim.stage, claim.job, recorded.progress
    renewed = _renewal(job.id, job.lease_token, seconds)
    logs: tuple[Write, ...] = (Insert(rows=recorded.logs, skip_existing=True),) if recorded.logs else ()
    if progress is None:
        return Changes(run_id=run.id, at=context.at, writes=(_run_is_active(run.id), renewed, *logs))
    reported = StageUpdate(ids=(stage.id,), set={"progress": progress.row()}, expect={"status": StageStatus.RUNNING})
    return Changes(
        run_id=run.id,
        at=context.at,
        run=RunUpdate(ids=(run.id,), expect=_ACTIVE),
        writes=(reported, renewed, *logs),
        events=(progress.event(run, stage),),
    )


def renew_lease(run_id: str, job_id: str, token: str, seconds: float, at: datetime) -> Changes:
    """Renews the lease alone, for the parent process of a worker slot."""
    return Changes(run_id=run_id, at=at, writes=(_run_is_active(run_id), _renewal(job_id, token, seconds)))


def _run_is_active(run_id: str) -> Check:
    return Check(record=RunRecord, id=run_id, expect=_ACTIVE)


def _renewal(job_id: str, token: str | None, seconds: float) -> JobUpdate:
    return JobUpdate(
        ids=(job_id,),
        set={"lease_until": FromNow(seconds)},
        expect={"status": JobStatus.RUNNING, "lease_token": token},
    )
