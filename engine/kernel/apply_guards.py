"""Whether a transition may happen: nothing here writes."""

from collections.abc import Mapping
from dataclasses import dataclass

from engine.domain.errors import NotFound
from engine.domain.lifecycle import Status
from engine.domain.records import JobRecord, RunRecord, StageRecord
from engine.ports.transaction import Tx
from engine.ports.write_set import JobChange, StageChange, Verdict, WriteSet

S = Status

# Where a job is found whose holder already made this very change: whoever else takes a job from its holder
# takes the token too.
LEFT_BY_HOLDER: Mapping[Status, frozenset[Status]] = {
    S.COMPLETED: frozenset({S.COMPLETED}),
    S.FAILED: frozenset({S.FAILED}),
    S.CANCELLED: frozenset({S.CANCELLED}),
    S.PENDING: frozenset({S.PENDING, S.CANCELLED}),
    S.SUSPENDED: frozenset({S.SUSPENDED, S.COMPLETED, S.FAILED, S.CANCELLED}),
}


@dataclass(frozen=True, slots=True)
class Targets:
    """The rows a write set changes, as they were found and accepted."""

    job: JobRecord | None = None
    stage: StageRecord | None = None


def refusal(tx: Tx, ws: WriteSet, run: RunRecord) -> Verdict | None:
    if ws.job is not None and _is_repeat(tx, ws.job):
        return Verdict.REPEAT
    if run.status not in ws.run_in:
        return Verdict.GHOST
    if ws.expected_version not in {None, run.version}:
        return Verdict.STALE
    return None


def _is_repeat(tx: Tx, change: JobChange) -> bool:
    if change.token is None:
        return False
    job = tx.jobs.find(change.job_id)
    if job is None or job.lease_token != change.token:
        return False
    return job.status in LEFT_BY_HOLDER.get(change.to, frozenset())


def check_targets(tx: Tx, ws: WriteSet) -> Targets | None:
    """None when the job or the stage belongs to somebody else by now."""
    job = stage = None
    if ws.job is not None:
        job = _job(tx, ws, ws.job)
        if job is None:
            return None
    if ws.stage is not None:
        stage = _stage(tx, ws, ws.stage)
        if stage is None:
            return None
    return Targets(job, stage)


def _job(tx: Tx, ws: WriteSet, change: JobChange) -> JobRecord | None:
    job = tx.jobs.find(change.job_id)
    if job is None or job.workflow_run_id != ws.run_id or job.status not in change.status_in:
        return None
    if change.token not in {None, job.lease_token}:
        return None
    if change.expired and not lease_ran_out(tx, job):
        return None
    return job


def lease_ran_out(tx: Tx, job: JobRecord) -> bool:
    return job.lease_until is not None and job.lease_until <= tx.now()


def _stage(tx: Tx, ws: WriteSet, change: StageChange) -> StageRecord | None:
    stage = find_stage(tx, change.record_id)
    if stage is None or stage.workflow_run_id != ws.run_id or stage.status not in change.status_in:
        return None
    if change.poll_token not in {None, stage.poll_token}:
        return None
    return stage


def find_stage(tx: Tx, record_id: str) -> StageRecord | None:
    try:
        return tx.stages.get(record_id)
    except NotFound:
        return None
