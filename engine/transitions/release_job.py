"""The release of a lease: it has expired, its worker is dead, or its worker returns the job."""

from dataclasses import dataclass

from engine.domain.events import Event, StageFailed
from engine.domain.lifecycle import JobStatus, RunStatus, StageStatus
from engine.domain.records import LogLevel, LogRecord
from engine.ports.changes import (
    PASSED,
    Changes,
    Condition,
    FromNow,
    Insert,
    JobPatch,
    JobUpdate,
    Reason,
    Refused,
    RunUpdate,
    StagePatch,
    Write,
)
from engine.transitions.close_stage import RunEffect, stage_ended, stage_failed_for_good
from engine.transitions.context import DecisionContext
from engine.transitions.moves import move_job, move_stage
from engine.transitions.open_group import SECONDS_PER_PRIORITY
from engine.transitions.snapshots import StageSnapshot

LEASE_EXPIRED = "LEASE_EXPIRED"

MAX_UNCOUNTED_ATTEMPTS = 20
"""The number of attempts after which an uncounted release counts: otherwise a job could be retried for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRelease:
    """The release of the lease with that `token`.

    `expired`: only if the lease has run out on the store's clock. `uncounted`: raises the job's `max_attempts` by one;
    the attempt keeps its number, because model calls are recorded under it. `due_in`: seconds until the next attempt.
    """

    token: str | None
    expired: bool
    uncounted: bool = False
    due_in: float = 0.0
    why: str | None = None


def ends_stage(snapshot: StageSnapshot, release: JobRelease) -> bool:
    """Whether the release ends the stage: its attempts are spent, or its run is failing."""
    return _is_spent(snapshot, release) or snapshot.run.failure_code is not None


def release_job(snapshot: StageSnapshot, release: JobRelease, context: DecisionContext) -> Changes | Refused:
    """Makes the job PENDING, or FAILED when its attempts are spent. Needs the whole run if `ends_stage`."""
    run, stage, job = snapshot.run, snapshot.stage, snapshot.job
    if job.status is not JobStatus.RUNNING or job.lease_token != release.token:
        return Refused(Reason.LOST)
    if run.status is not RunStatus.RUNNING:
        return Refused(Reason.GHOST)
    if stage.status is not StageStatus.RUNNING:
        return Refused(Reason.LOST)
    if _is_spent(snapshot, release):
        return _fail(snapshot, release, context)
    if run.failure_code is not None:
        return _cancel_attempt(snapshot, release, context)
    return _make_pending(snapshot, release, context)


def _is_spent(snapshot: StageSnapshot, release: JobRelease) -> bool:
    job = snapshot.job
    return job.attempt >= job.max_attempts and not _is_uncounted(snapshot, release)


def _is_uncounted(snapshot: StageSnapshot, release: JobRelease) -> bool:
    return release.uncounted and snapshot.job.attempt < MAX_UNCOUNTED_ATTEMPTS


def _make_pending(snapshot: StageSnapshot, release: JobRelease, context: DecisionContext) -> Changes:
    run, job = snapshot.run, snapshot.job
    patch: JobPatch = {
        "due_at": FromNow(release.due_in),
        "rank": FromNow(release.due_in - job.priority * SECONDS_PER_PRIORITY),
        "worker_id": None,
    }
    effect = RunEffect(run=RunUpdate(ids=(run.id,), expect={"status": RunStatus.RUNNING, "failure_code": None}))
    stage = move_stage(snapshot.stage, StageStatus.PENDING)
    how = "was released by" if _is_uncounted(snapshot, release) else "was lost by"
    why = f": {release.why}" if release.why else ""
    message = f"attempt {job.attempt} {how} worker {job.worker_id}{why}"
    log = _log(LogLevel.WARN, message, snapshot, context)
    return _changes(snapshot, effect, (stage, _end_lease(snapshot, release, JobStatus.PENDING, patch)), log, context)


def _cancel_attempt(snapshot: StageSnapshot, release: JobRelease, context: DecisionContext) -> Changes:
    """Cancels the stage instead of a retry: a failing run waits only for bodies that run."""
    stage = move_stage(snapshot.stage, StageStatus.CANCELLED, {"completed_at": context.at})
    message = f"attempt {snapshot.job.attempt} of worker {snapshot.job.worker_id} ended while the run was failing"
    log = _log(LogLevel.WARN, message, snapshot, context)
    effect = stage_ended(snapshot, context)
    return _changes(snapshot, effect, (stage, _end_lease(snapshot, release, JobStatus.CANCELLED)), log, context)


def _fail(snapshot: StageSnapshot, release: JobRelease, context: DecisionContext) -> Changes:
    run, stage, job = snapshot.run, snapshot.stage, snapshot.job
    how = f"released its lease ({release.why})" if release.why else "stopped responding"
    message = f"LeaseExpired: worker {job.worker_id} {how} in attempt {job.attempt} of {job.max_attempts}"
    patch: StagePatch = {"error_code": LEASE_EXPIRED, "error_message": message, "completed_at": context.at}
    event = StageFailed.of(run, stage, context.at, error=message, error_code=LEASE_EXPIRED, will_retry=False)
    return _changes(
        snapshot,
        stage_failed_for_good(snapshot, LEASE_EXPIRED, message, context),
        (
            move_stage(stage, StageStatus.FAILED, patch),
            _end_lease(snapshot, release, JobStatus.FAILED, {"last_error": message}),
        ),
        _log(LogLevel.ERROR, message, snapshot, context),
        context,
        events=(event,),
    )


def _end_lease(snapshot: StageSnapshot, release: JobRelease, to: JobStatus, patch: JobPatch | None = None) -> JobUpdate:
    """Removes the token, so that a later finish of the same attempt is refused as a ghost."""
    fence: Condition = {"lease_token": release.token, **({"lease_until": PASSED} if release.expired else {})}
    why: JobPatch = {"last_error": release.why} if release.why else {}
    taken: JobPatch = {**why, **(patch or {}), "lease_until": None, "lease_token": None}
    update = move_job(snapshot.job, to, taken, expect=fence)
    if not _is_uncounted(snapshot, release):
        return update
    return JobUpdate(ids=update.ids, set=update.set, expect=update.expect, add={"max_attempts": 1})


def _changes(
    snapshot: StageSnapshot,
    effect: RunEffect,
    writes: tuple[Write, ...],
    log: LogRecord,
    context: DecisionContext,
    *,
    events: tuple[Event, ...] = (),
) -> Changes:
    return Changes(
        run_id=snapshot.run.id,
        at=context.at,
        run=effect.run,
        writes=(*writes, *effect.writes, Insert(rows=(log,))),
        events=(*events, *effect.events),
    )


def _log(level: LogLevel, message: str, snapshot: StageSnapshot, context: DecisionContext) -> LogRecord:
    return LogRecord(
        id=context.ids.new(),
        workflow_run_id=snapshot.run.id,
        level=level,
        message=message,
        created_at=context.at,
        stage_id=snapshot.stage.stage_id,
        stage_record_id=snapshot.stage.id,
    )
