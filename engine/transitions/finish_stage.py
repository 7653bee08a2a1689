"""An attempt of a stage ends: its outcome, its job, its run and what follows, in one transaction.

The same decision is made from what a worker knows (the rows it claimed) and from the rows read under the run's lock.
Its conditions hold what it rests on: the job's token fences off everybody but the holder of the lease, and the run's
row says whether this stage is the last of its group."""

from dataclasses import dataclass, field
from typing import Any

from engine.definition.workflow import Workflow
from engine.domain.events import Event, StageCompleted, StageFailed, StageSuspended, WorkflowSuspended
from engine.domain.lifecycle import JobStatus, RunStatus, StageStatus
from engine.domain.records import LogLevel, LogRecord, RunRecord, StageRecord
from engine.ports.changes import (
    Changes,
    Condition,
    FromNow,
    Insert,
    JobPatch,
    Reason,
    Refused,
    RunUpdate,
    StagePatch,
    Write,
)
from engine.ports.persistence import Lease
from engine.transitions.annotations import without_repeats
from engine.transitions.close_stage import (
    Following,
    RunEffect,
    output_of_group,
    stage_completed,
    stage_ended,
    stage_failed_for_good,
)
from engine.transitions.context import DecisionContext
from engine.transitions.facts import Completed, Failed, Outcome, Recorded, Suspended
from engine.transitions.moves import duration_ms, move_job, move_stage
from engine.transitions.open_group import SECONDS_PER_PRIORITY
from engine.transitions.snapshots import StageSnapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class StageFinish:
    """How an attempt ended, and by whose right.

    `token` is the lease token under which the job was claimed, or, with `by_poll`, the poll claim of a suspended
    stage. `workflow` is None when it is no longer registered. With `lease` the next group, if it is one stage, is
    claimed in the same transaction."""

    outcome: Outcome
    token: str
    workflow: Workflow[Any, Any] | None
    recorded: Recorded = field(default_factory=Recorded)
    by_poll: bool = False
    lease: Lease | None = None


def needs_whole_run(snapshot: StageSnapshot, finish: StageFinish) -> bool:
    """Whether the decision looks at other stages of the run, or at costs that only the row knows."""
    run, outcome = snapshot.run, finish.outcome
    if is_alone(snapshot.stage, finish.workflow):
        return False
    if run.failure_code is not None or (isinstance(outcome, Failed) and outcome.retry_in is None):
        return True
    return isinstance(outcome, Completed) and run.group_open <= 1


def is_alone(stage: StageRecord, workflow: Workflow[Any, Any] | None) -> bool:
    """Whether the stage is the only one of its group."""
    group_no = stage.execution_group
    if workflow is None or not 1 <= group_no <= workflow.group_count:
        return False
    return len(workflow.group(group_no)) == 1


def finish_stage(snapshot: StageSnapshot, finish: StageFinish, context: DecisionContext) -> Changes | Refused:
    refused = _refusal(snapshot, finish)
    if refused is not None:
        return refused
    ending = _Ending(snapshot, finish, context)
    match finish.outcome:
        case Completed() as outcome:
            return _complete(ending, outcome)
        case Suspended() as outcome:
            return _give_up(ending) if _is_failing(snapshot.run) else _suspend(ending, outcome)
        case Failed(retry_in=None) as outcome:
            return _fail(ending, outcome)
        case Failed() as outcome:
            return _give_up(ending, outcome) if _is_failing(snapshot.run) else _retry(ending, outcome)


@dataclass(frozen=True, slots=True)
class _Ending:
    snapshot: StageSnapshot
    finish: StageFinish
    context: DecisionContext

    @property
    def run(self) -> RunRecord:
        return self.snapshot.run

    @property
    def stage(self) -> StageRecord:
        return self.snapshot.stage

    @property
    def stage_fence(self) -> Condition:
        return {"poll_token": self.finish.token} if self.finish.by_poll else {}

    @property
    def job_fence(self) -> Condition:
        return {} if self.finish.by_poll else {"lease_token": self.finish.token}


def _refusal(snapshot: StageSnapshot, finish: StageFinish) -> Refused | None:
    if _is_repeat(snapshot, finish):
        return Refused(Reason.REPEAT)
    if snapshot.run.status is not RunStatus.RUNNING:
        return Refused(Reason.GHOST)
    return None if _is_held(snapshot, finish) else Refused(Reason.LOST)


def _is_held(snapshot: StageSnapshot, finish: StageFinish) -> bool:
    stage, job = snapshot.stage, snapshot.job
    if finish.by_poll:
        suspended = stage.status is StageStatus.SUSPENDED and job.status is JobStatus.SUSPENDED
        return suspended and stage.poll_token == finish.token
    running = stage.status is StageStatus.RUNNING and job.status is JobStatus.RUNNING
    return running and job.lease_token == finish.token


_LEFT_BY_HOLDER = {
    Completed: frozenset({JobStatus.COMPLETED}),
    Suspended: frozenset({JobStatus.SUSPENDED, JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED}),
    Failed: frozenset({JobStatus.FAILED, JobStatus.PENDING, JobStatus.CANCELLED}),
}


def _is_repeat(snapshot: StageSnapshot, finish: StageFinish) -> bool:
    """The same finish was committed and its answer lost: whoever else takes a job from its holder takes the token.

    A job that somebody else cancelled keeps token and lease; one that its holder gave up has no lease.
    """
    job = snapshot.job
    if finish.by_poll or job.lease_token != finish.token or job.lease_until is not None:
        return False
    return job.status in _LEFT_BY_HOLDER[type(finish.outcome)]


def _is_failing(run: RunRecord) -> bool:
    return run.failure_code is not None


def _complete(ending: _Ending, outcome: Completed) -> Changes:
    stage, context, finish = ending.stage, ending.context, ending.finish
    duration = _since_start(ending)
    totals = {"total_cost": stage.total_cost, "total_tokens": stage.total_tokens}
    patch: StagePatch = {
        "output_data": outcome.output,
        "metrics": {**(stage.metrics or {}), **outcome.metrics} or None,
        "embedding_info": outcome.embeddings,
        "completed_at": context.at,
        "duration_ms": duration,
        "error_code": None,
        "error_message": None,
        "next_poll_at": None,
        "poll_token": None,
        "poll_until": None,
        **_progress(finish),
    }
    whole = ending.snapshot.whole
    group = [each for each in whole.stages if each.execution_group == stage.execution_group] if whole else []
    is_wide = not is_alone(stage, finish.workflow)
    output = output_of_group(group, stage, outcome.output, is_wide=is_wide)
    following = Following(workflow=finish.workflow, output=output, lease=finish.lease)
    return _changes(
        ending,
        stage_completed(ending.snapshot, following, context),
        # What its calls cost is part of the event, so none may have been recorded since the row was read.
        move_stage(stage, StageStatus.COMPLETED, patch, expect={**ending.stage_fence, **totals}),
        _leave(ending, JobStatus.COMPLETED),
        *_rows(outcome.artifacts),
        events=(StageCompleted.of(ending.run, stage, context.at, duration_ms=duration, **totals),),
    )


def _suspend(ending: _Ending, outcome: Suspended) -> Changes:
    patch: StagePatch = {
        "suspended_state": outcome.state,
        "next_poll_at": outcome.next_poll_at,
        "poll_interval_s": outcome.poll_interval_s,
        "max_wait_until": outcome.max_wait_until,
        "metrics": outcome.metrics or None,
        "error_code": None,
        "error_message": None,
        **_progress(ending.finish),
    }
    return _changes(
        ending,
        _goes_on(ending),
        move_stage(ending.stage, StageStatus.SUSPENDED, patch, expect=ending.stage_fence),
        _leave(ending, JobStatus.SUSPENDED),
        events=(
            StageSuspended.of(ending.run, ending.stage, ending.context.at, next_poll_at=outcome.next_poll_at),
            WorkflowSuspended.of(ending.run, ending.context.at, stage_id=ending.stage.stage_id),
        ),
    )


def _retry(ending: _Ending, outcome: Failed) -> Changes:
    """The job waits for its next attempt, and with it the run."""
    delay = outcome.retry_in or 0.0
    back: JobPatch = {
        "due_at": FromNow(delay),
        "rank": FromNow(delay - ending.snapshot.job.priority * SECONDS_PER_PRIORITY),
        "worker_id": None,
        "last_error": outcome.message,
    }
    return _changes(
        ending,
        _goes_on(ending),
        move_stage(ending.stage, StageStatus.FAILED, _failure(ending, outcome), expect=ending.stage_fence),
        _leave(ending, JobStatus.PENDING, back),
        events=(_failed_event(ending, outcome, will_retry=True),),
        logs=(_error_log(ending, outcome),),
    )


def _fail(ending: _Ending, outcome: Failed) -> Changes:
    patch: StagePatch = {
        **_failure(ending, outcome),
        "completed_at": ending.context.at,
        "duration_ms": _since_start(ending),
    }
    return _changes(
        ending,
        stage_failed_for_good(ending.snapshot, outcome.code, outcome.message, ending.context),
        move_stage(ending.stage, StageStatus.FAILED, patch, expect=ending.stage_fence),
        _leave(ending, JobStatus.FAILED, {"last_error": outcome.message}),
        events=(_failed_event(ending, outcome, will_retry=False),),
        logs=(_error_log(ending, outcome),),
    )


def _give_up(ending: _Ending, outcome: Failed | None = None) -> Changes:
    """A failing run waits for bodies that run, not for attempts or polls to come."""
    context = ending.context
    told: StagePatch = _failure(ending, outcome) if outcome else _progress(ending.finish)
    patch: StagePatch = {**told, "completed_at": context.at}
    back: JobPatch = {"last_error": outcome.message} if outcome else {}
    return _changes(
        ending,
        stage_ended(ending.snapshot, context),
        move_stage(ending.stage, StageStatus.CANCELLED, patch, expect=ending.stage_fence),
        _leave(ending, JobStatus.CANCELLED, back),
        events=(_failed_event(ending, outcome, will_retry=False),) if outcome else (),
        logs=(_error_log(ending, outcome),) if outcome else (),
    )


def _goes_on(ending: _Ending) -> RunEffect:
    """The stage stays open, in a run that is not failing."""
    return RunEffect(run=RunUpdate(ids=(ending.run.id,), expect={"status": RunStatus.RUNNING, "failure_code": None}))


def _leave(ending: _Ending, to: JobStatus, patch: JobPatch | None = None) -> Write:
    left: JobPatch = {**(patch or {}), "lease_until": None}
    return move_job(ending.snapshot.job, to, left, expect=ending.job_fence)


def _failure(ending: _Ending, outcome: Failed) -> StagePatch:
    return {
        "error_code": outcome.code,
        "error_message": outcome.message,
        "completed_at": None,
        "duration_ms": None,
        "next_poll_at": None,
        "poll_token": None,
        "poll_until": None,
        **_progress(ending.finish),
    }


def _failed_event(ending: _Ending, outcome: Failed, *, will_retry: bool) -> Event:
    facts = {"error": outcome.message, "error_code": outcome.code, "will_retry": will_retry}
    return StageFailed.of(ending.run, ending.stage, ending.context.at, **facts)


def _progress(finish: StageFinish) -> StagePatch:
    progress = finish.recorded.progress
    return {} if progress is None else {"progress": progress.row()}


def _changes(
    ending: _Ending,
    effect: RunEffect,
    *writes: Write,
    events: tuple[Event, ...],
    logs: tuple[LogRecord, ...] = (),
) -> Changes:
    """In the order of events: annotations', progress, the stage's own, then the run's."""
    recorded = ending.finish.recorded
    annotations = without_repeats(recorded.annotations, ending.snapshot.annotations)
    told = tuple(draft.event for draft in annotations if draft.event is not None)
    progress = recorded.progress
    reported = (progress.event(ending.run, ending.stage),) if progress else ()
    return Changes(
        run_id=ending.run.id,
        at=ending.context.at,
        run=effect.run,
        writes=(
            *writes,
            *effect.writes,
            *_rows((*logs, *recorded.logs), skip_existing=True),
            *_rows(tuple(draft.record for draft in annotations), skip_existing=True),
        ),
        events=(*told, *reported, *events, *effect.events),
    )


def _rows(rows: tuple[Any, ...], *, skip_existing: bool = False) -> tuple[Write, ...]:
    return (Insert(rows=rows, skip_existing=skip_existing),) if rows else ()


def _since_start(ending: _Ending) -> int:
    return duration_ms(ending.stage.started_at, ending.context.at) or 0


def _error_log(ending: _Ending, outcome: Failed) -> LogRecord:
    return LogRecord(
        id=ending.context.ids.new(),
        workflow_run_id=ending.run.id,
        level=LogLevel.ERROR,
        message=outcome.message,
        created_at=ending.context.at,
        stage_id=ending.stage.stage_id,
        stage_record_id=ending.stage.id,
        metadata={"code": outcome.code, "trace": outcome.trace},
    )
