"""The end of a run by cancellation, or by a failure that belongs to no stage."""

from engine.domain.events import Event, WorkflowCancelled, WorkflowFailed
from engine.domain.lifecycle import OPEN_JOBS, OPEN_STAGES, RunStatus
from engine.domain.records import LogLevel, LogRecord
from engine.domain.values import inline
from engine.ports.changes import Changes, Insert, Reason, Refused, RunPatch, Write
from engine.transitions.context import DecisionContext
from engine.transitions.moves import cancel_rows, duration_ms, move_run
from engine.transitions.snapshots import RunSnapshot

_UNFINISHED = frozenset({RunStatus.PENDING, RunStatus.RUNNING})


def cancel_run(snapshot: RunSnapshot, reason: str | None, context: DecisionContext) -> Changes | Refused:
    """Cancels the run and all open stages and jobs."""
    if snapshot.run.status not in _UNFINISHED:
        return Refused(Reason.GHOST)
    event = WorkflowCancelled.of(snapshot.run, context.at, reason=reason)
    return _end(snapshot, RunStatus.CANCELLED, {}, event, context)


def fail_run(snapshot: RunSnapshot, code: str, message: str, context: DecisionContext) -> Changes | Refused:
    """Fails the run, with the cause in `output.error` too, and cancels all open stages and jobs."""
    if snapshot.run.status not in _UNFINISHED:
        return Refused(Reason.GHOST)
    patch: RunPatch = {
        "failure_code": code,
        "failure_message": message,
        "output": inline({"error": {"code": code, "message": message}}),
    }
    event = WorkflowFailed.of(snapshot.run, context.at, error=message, error_code=code)
    log = log_of_run(LogLevel.ERROR, f"{code}: {message}", snapshot, context)
    return _end(snapshot, RunStatus.FAILED, patch, event, context, Insert(rows=(log,)))


def _end(
    snapshot: RunSnapshot, to: RunStatus, patch: RunPatch, event: Event, context: DecisionContext, *writes: Write
) -> Changes:
    run = snapshot.run
    ended: RunPatch = {
        **patch,
        "group_open": 0,
        "completed_at": context.at,
        "duration_ms": duration_ms(run.started_at, context.at),
    }
    rest = cancel_rows(
        [stage for stage in snapshot.stages if stage.status in OPEN_STAGES],
        [job for job in snapshot.jobs if job.status in OPEN_JOBS],
        context.at,
    )
    return Changes(
        run_id=run.id,
        at=context.at,
        run=move_run(run, to, ended, expect={"version": run.version}),
        writes=(*rest, *writes),
        events=(event,),
    )


def log_of_run(level: LogLevel, message: str, snapshot: RunSnapshot, context: DecisionContext) -> LogRecord:
    return LogRecord(
        id=context.ids.new(),
        workflow_run_id=snapshot.run.id,
        level=level,
        message=message,
        created_at=context.at,
    )
