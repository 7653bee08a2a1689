"""The end of an attempt: outcome, stage, job, run and next group in one transaction.

The race: a worker has lost its lease without noticing and finishes, while another worker runs the same job. Only one of
them may write. So every finish is conditional on the lease token of the job, which each claim replaces; the late worker
is refused (`LOST`). If a finish was committed and its answer lost, the job still has that token, and the repeated
finish is recognised (`REPEAT`). The first decision is made from the rows that the worker claimed, without a read. The
conditions name what it rests on: if that has changed, the store refuses the write, and a second decision is made from
rows read under the run's lock."""

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
    """The outcome of an attempt, and the token that permits it.

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
    """Whether the decision needs the other stages of the run, or the current costs in its row."""
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
    inputs = _Inputs(snapshot, finish, context)
    match finish.outcome:
        case Completed() as outcome:
            return _complete(inputs, outcome)
        case Suspended() as outcome:
            return _cancel_attempt(inputs) if _is_failing(snapshot.run) else _suspend(inputs, outcome)
        case Failed(retry_in=None) as outcome:
            return _fail(inputs, outcome)
        case Failed() as outcome:
            return _cancel_attempt(inputs, outcome) if _is_failing(snapshot.run) else _retry(inputs, outcome)


@dataclass(frozen=True, slots=True)
class _Inputs:
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
    """True when the same finish was committed already and its answer was lost.

    A finish keeps the token and clears the lease. A release removes the token, and a claim replaces it. A cancellation
    of the run keeps both.
    """
    job = snapshot.job
    if finish.by_poll or job.lease_token != finish.token or job.lease_until is not None:
        return False
    return job.status in _LEFT_BY_HOLDER[type(finish.outcome)]


def _is_failing(run: RunRecord) -> bool:
    return run.failure_code is not None


def _complete(inputs: _Inputs, outcome: Completed) -> Changes:
    stage, context, finish = inputs.stage, inputs.context, inputs.finish
    duration = _since_start(inputs)
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
    whole = inputs.snapshot.whole
    group = [each for each in whole.stages if each.execution_group == stage.execution_group] if whole else []
    is_wide = not is_alone(stage, finish.workflow)
    output = output_of_group(group, stage, outcome.output, is_wide=is_wide)
    following = Following(workflow=finish.workflow, output=output, lease=finish.lease)
    return _changes(
        inputs,
        stage_completed(inputs.snapshot, following, context),
        # The event contains the totals, so no call may have been recorded after the row was read.
        move_stage(stage, StageStatus.COMPLETED, patch, expect={**inputs.stage_fence, **totals}),
        _end_lease(inputs, JobStatus.COMPLETED),
        *_rows(outcome.artifacts),
        events=(StageCompleted.of(inputs.run, stage, context.at, duration_ms=duration, **totals),),
    )


def _suspend(inputs: _Inputs, outcome: Suspended) -> Changes:
    patch: StagePatch = {
        "suspended_state": outcome.state,
        "next_poll_at": outcome.next_poll_at,
        "poll_interval_s": outcome.poll_interval_s,
        "max_wait_until": outcome.max_wait_until,
        "metrics": outcome.metrics or None,
        "error_code": None,
        "error_message": None,
        **_progress(inputs.finish),
    }
    return _changes(
        inputs,
        _active_run(inputs),
        move_stage(inputs.stage, StageStatus.SUSPENDED, patch, expect=inputs.stage_fence),
        _end_lease(inputs, JobStatus.SUSPENDED),
        events=(
            StageSuspended.of(inputs.run, inputs.stage, inputs.context.at, next_poll_at=outcome.next_poll_at),
            WorkflowSuspended.of(inputs.run, inputs.context.at, stage_id=inputs.stage.stage_id),
        ),
    )


def _retry(inputs: _Inputs, outcome: Failed) -> Changes:
    """The job is PENDING again. The stage stays open, so the run waits for it."""
    delay = outcome.retry_in or 0.0
    job_patch: JobPatch = {
        "due_at": FromNow(delay),
        "rank": FromNow(delay - inputs.snapshot.job.priority * SECONDS_PER_PRIORITY),
        "worker_id": None,
        "last_error": outcome.message,
    }
    return _changes(
        inputs,
        _active_run(inputs),
        move_stage(inputs.stage, StageStatus.FAILED, _failure(inputs, outcome), expect=inputs.stage_fence),
        _end_lease(inputs, JobStatus.PENDING, job_patch),
        events=(_failed_event(inputs, outcome, will_retry=True),),
        logs=(_error_log(inputs, outcome),),
    )


def _fail(inputs: _Inputs, outcome: Failed) -> Changes:
    patch: StagePatch = {
        **_failure(inputs, outcome),
        "completed_at": inputs.context.at,
        "duration_ms": _since_start(inputs),
    }
    return _changes(
        inputs,
        stage_failed_for_good(inputs.snapshot, outcome.code, outcome.message, inputs.context),
        move_stage(inputs.stage, StageStatus.FAILED, patch, expect=inputs.stage_fence),
        _end_lease(inputs, JobStatus.FAILED, {"last_error": outcome.message}),
        events=(_failed_event(inputs, outcome, will_retry=False),),
        logs=(_error_log(inputs, outcome),),
    )


def _cancel_attempt(inputs: _Inputs, outcome: Failed | None = None) -> Changes:
    """Cancels the stage instead of a retry or a suspension: a failing run waits only for bodies that run."""
    context = inputs.context
    result: StagePatch = _failure(inputs, outcome) if outcome else _progress(inputs.finish)
    patch: StagePatch = {**result, "completed_at": context.at}
    job_patch: JobPatch = {"last_error": outcome.message} if outcome else {}
    return _changes(
        inputs,
        stage_ended(inputs.snapshot, context),
        move_stage(inputs.stage, StageStatus.CANCELLED, patch, expect=inputs.stage_fence),
        _end_lease(inputs, JobStatus.CANCELLED, job_patch),
        events=(_failed_event(inputs, outcome, will_retry=False),) if outcome else (),
        logs=(_error_log(inputs, outcome),) if outcome else (),
    )


def _active_run(inputs: _Inputs) -> RunEffect:
    """No change of the run. The condition refuses a run that has ended or is failing."""
    return RunEffect(run=RunUpdate(ids=(inputs.run.id,), expect={"status": RunStatus.RUNNING, "failure_code": None}))


def _end_lease(inputs: _Inputs, to: JobStatus, patch: JobPatch | None = None) -> Write:
    ended: JobPatch = {**(patch or {}), "lease_until": None}
    return move_job(inputs.snapshot.job, to, ended, expect=inputs.job_fence)


def _failure(inputs: _Inputs, outcome: Failed) -> StagePatch:
    return {
        "error_code": outcome.code,
        "error_message": outcome.message,
        "completed_at": None,
        "duration_ms": None,
        "next_poll_at": None,
        "poll_token": None,
        "poll_until": None,
        **_progress(inputs.finish),
    }


def _failed_event(inputs: _Inputs, outcome: Failed, *, will_retry: bool) -> Event:
    facts = {"error": outcome.message, "error_code": outcome.code, "will_retry": will_retry}
    return StageFailed.of(inputs.run, inputs.stage, inputs.context.at, **facts)


def _progress(finish: StageFinish) -> StagePatch:
    progress = finish.recorded.progress
    return {} if progress is None else {"progress": progress.row()}


def _changes(
    inputs: _Inputs,
    effect: RunEffect,
    *writes: Write,
    events: tuple[Event, ...],
    logs: tuple[LogRecord, ...] = (),
) -> Changes:
    """Order of the events: annotations, progress, the stage, the run."""
    recorded = inputs.finish.recorded
    annotations = without_repeats(recorded.annotations, inputs.snapshot.annotations)
    annotation_events = tuple(draft.event for draft in annotations if draft.event is not None)
    progress = recorded.progress
    progress_events = (progress.event(inputs.run, inputs.stage),) if progress else ()
    return Changes(
        run_id=inputs.run.id,
        at=inputs.context.at,
        run=effect.run,
        writes=(
            *writes,
            *effect.writes,
            *_rows((*logs, *recorded.logs), skip_existing=True),
            *_rows(tuple(draft.record for draft in annotations), skip_existing=True),
        ),
        events=(*annotation_events, *progress_events, *events, *effect.events),
    )


def _rows(rows: tuple[Any, ...], *, skip_existing: bool = False) -> tuple[Write, ...]:
    return (Insert(rows=rows, skip_existing=skip_existing),) if rows else ()


def _since_start(inputs: _Inputs) -> int:
    return duration_ms(inputs.stage.started_at, inputs.context.at) or 0


def _error_log(inputs: _Inputs, outcome: Failed) -> LogRecord:
    return LogRecord(
        id=inputs.context.ids.new(),
        workflow_run_id=inputs.run.id,
        level=LogLevel.ERROR,
        message=outcome.message,
        created_at=inputs.context.at,
        stage_id=inputs.stage.stage_id,
        stage_record_id=inputs.stage.id,
        metadata={"code": outcome.code, "trace": outcome.trace},
    )
