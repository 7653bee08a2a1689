"""A job comes back from the worker that held it: its lease ran out, its worker died or gave it back."""

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
"""Attempts after which one that is given back counts like any other: a job that always meets one must end some time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRelease:
    """The end of a lease that was read with `token`.

    With `expired` only if it has run out on the store's clock; without, at once. An `uncounted` attempt keeps its
    number (what was recorded under it stays apart) and allows the job one attempt more. `due_in`: seconds until the
    next."""

    token: str | None
    expired: bool
    uncounted: bool = False
    due_in: float = 0.0
    why: str | None = None


def ends_stage(snapshot: StageSnapshot, release: JobRelease) -> bool:
    """Whether the stage ends with the lease: its attempts are spent, or its run is failing."""
    return _is_spent(snapshot, release) or snapshot.run.failure_code is not None


def release_job(snapshot: StageSnapshot, release: JobRelease, context: DecisionContext) -> Changes | Refused:
    """PENDING again, or FAILED once its attempts are spent. Needs the whole run where that ends the stage."""
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
        return _give_up(snapshot, release, context)
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
    how = "was given up by" if _is_uncounted(snapshot, release) else "was lost by"
    why = f": {release.why}" if release.why else ""
    message = f"attempt {job.attempt} {how} worker {job.worker_id}{why}"
    log = _log(LogLevel.WARN, message, snapshot, context)
    return _changes(snapshot, effect, (stage, _leave(snapshot, release, JobStatus.PENDING, patch)), log, context)


def _give_up(snapshot: StageSnapshot, release: JobRelease, context: DecisionContext) -> Changes:
    """A failing run waits for bodies that run, not for attempts to come."""
    stage = move_stage(snapshot.stage, StageStatus.CANCELLED, {"completed_at": context.at})
    message = f"attempt {snapshot.job.attempt} of worker {snapshot.job.worker_id} ended while the run was failing"
    log = _log(LogLevel.WARN, message, snapshot, context)
    effect = stage_ended(snapshot, context)
    return _changes(snapshot, effect, (stage, _leave(snapshot, release, JobStatus.CANCELLED)), log, context)


def _fail(snapshot: StageSnapshot, release: JobRelease, context: DecisionContext) -> Changes:
    run, stage, job = snapshot.run, snapshot.stage, snapshot.job
    how = f"gave it up ({release.why})" if release.why else "stopped responding"
    message = f"LeaseExpired: worker {job.worker_id} {how} in attempt {job.attempt} of {job.max_attempts}"
    patch: StagePatch = {"error_code": LEASE_EXPIRED, "error_message": message, "completed_at": context.at}
    event = StageFailed.of(run, stage, context.at, error=message, error_code=LEASE_EXPIRED, will_retry=False)
    return _changes(
        snapshot,
        stage_failed_for_good(snapshot, LEASE_EXPIRED, message, context),
        (
            move_stage(stage, StageStatus.FAILED, patch),
            _leave(snapshot, release, JobStatus.FAILED, {"last_error": message}),
        ),
        _log(LogLevel.ERROR, message, snapshot, context),
        context,
        events=(event,),
    )


def _leave(snapshot: StageSnapshot, release: JobRelease, to: JobStatus, patch: JobPatch | None = None) -> JobUpdate:
    """Takes the token from its holder, whose finish is a ghost from now on."""
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
