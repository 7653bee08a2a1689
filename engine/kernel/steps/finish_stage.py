"""One stage's outcome as a write set: the stage, its job, its run, and what follows, in one transaction."""

from dataclasses import dataclass, replace
from typing import Any

from engine.definition.workflow import Workflow
from engine.domain.events import StageCompleted, StageProgress, StageSuspended, WorkflowSuspended
from engine.domain.lifecycle import Status
from engine.domain.records import JobRecord, LogLevel, LogRecord, RunRecord, StageRecord
from engine.kernel.outcomes import Completed, Failed, Outcome, Suspended
from engine.kernel.recorder import Progress, Recorder
from engine.kernel.steps.advance_run import advance_run, stage_failed, workflow_failed
from engine.kernel.steps.open_group import DecisionContext
from engine.ports.write_set import Closes, CompleteRun, JobChange, OpenGroup, StageChange, WriteSet


@dataclass(frozen=True, slots=True, kw_only=True)
class StageFinish:
    """What is known when a stage ends. `workflow` is None when it is no longer registered.

    `poll_token` is set when a suspended stage ends by a poll, else the job's lease token fences the write.
    """

    run: RunRecord
    stage: StageRecord
    job: JobRecord
    recorder: Recorder
    workflow: Workflow[Any, Any] | None
    now: DecisionContext
    poll_token: str | None = None


def finish_stage(finish: StageFinish, outcome: Outcome) -> WriteSet:
    match outcome:
        case Completed():
            write_set = _complete(finish, outcome)
        case Suspended():
            write_set = _suspend(finish, outcome)
        case Failed():
            write_set = _fail(finish, outcome)
    logs, progress = finish.recorder.take()
    write_set = replace(write_set, logs=(*write_set.logs, *logs), annotations=finish.recorder.annotations())
    return _with_progress(write_set, finish, progress)


def what_follows(finish: StageFinish, outcome: Completed) -> OpenGroup | CompleteRun | None:
    if finish.workflow is None:
        return None
    return advance_run(finish.workflow, finish.run, finish.stage, finish.now, output=outcome.output)


def _complete(finish: StageFinish, outcome: Completed) -> WriteSet:
    stage, at = finish.stage, finish.now.at
    duration_ms = _since_start(finish)
    patch = {
        "status": Status.COMPLETED,
        "output_data": outcome.output,
        "metrics": {**(stage.metrics or {}), **outcome.metrics} or None,
        "embedding_info": outcome.embeddings,
        "completed_at": at,
        "duration_ms": duration_ms,
        "error_code": None,
        "error_message": None,
        "next_poll_at": None,
        "poll_token": None,
        "poll_until": None,
    }
    return WriteSet(
        run_id=finish.run.id,
        at=at,
        job=_job(finish, Status.COMPLETED),
        stage=_stage(finish, patch),
        artifacts=outcome.artifacts,
        closes=Closes.STAGE,
        then=what_follows(finish, outcome),
        failed_event=workflow_failed(finish.run, finish.now),
        events=(StageCompleted(**_names(finish), duration_ms=duration_ms),),
    )


def _suspend(finish: StageFinish, outcome: Suspended) -> WriteSet:
    names = _names(finish)
    patch = {
        "status": Status.SUSPENDED,
        "suspended_state": outcome.state,
        "next_poll_at": outcome.next_poll_at,
        "poll_interval_s": outcome.poll_interval_s,
        "max_wait_until": outcome.max_wait_until,
        "metrics": outcome.metrics or None,
        "error_code": None,
        "error_message": None,
    }
    run_names = {key: names[key] for key in ("timestamp", "workflow_run_id", "workflow_id")}
    return WriteSet(
        run_id=finish.run.id,
        at=finish.now.at,
        job=_job(finish, Status.SUSPENDED),
        stage=_stage(finish, patch),
        failed_event=workflow_failed(finish.run, finish.now),
        events=(
            StageSuspended(**names, next_poll_at=outcome.next_poll_at),
            WorkflowSuspended(**run_names, stage_id=finish.stage.stage_id),
        ),
    )


def _fail(finish: StageFinish, outcome: Failed) -> WriteSet:
    will_retry = outcome.retry_in is not None
    patch: dict[str, Any] = {
        "status": Status.FAILED,
        "error_code": outcome.code,
        "error_message": outcome.message,
        "completed_at": None if will_retry else finish.now.at,
        "duration_ms": None if will_retry else _since_start(finish),
        "next_poll_at": None,
        "poll_token": None,
        "poll_until": None,
    }
    event = stage_failed(
        finish.run, finish.stage, finish.now, code=outcome.code, message=outcome.message, will_retry=will_retry
    )
    failure = {"failure_code": outcome.code, "failure_message": outcome.message}
    return WriteSet(
        run_id=finish.run.id,
        at=finish.now.at,
        run={} if will_retry else failure,
        job=_job(finish, Status.PENDING if will_retry else Status.FAILED, outcome),
        stage=_stage(finish, patch),
        closes=Closes.NOTHING if will_retry else Closes.GROUP,
        failed_event=workflow_failed(finish.run, finish.now),
        logs=(_error_log(finish, outcome),),
        events=(event,),
    )


def _job(finish: StageFinish, to: Status, failed: Failed | None = None) -> JobChange:
    return JobChange(
        job_id=finish.job.id,
        to=to,
        status_in=frozenset({Status.SUSPENDED if finish.poll_token else Status.RUNNING}),
        token=None if finish.poll_token else finish.job.lease_token,
        due_in=(failed.retry_in or 0.0) if failed else 0.0,
        error=failed.message if failed else None,
    )


def _stage(finish: StageFinish, patch: dict[str, Any]) -> StageChange:
    return StageChange(
        record_id=finish.stage.id,
        status_in=frozenset({Status.SUSPENDED if finish.poll_token else Status.RUNNING}),
        poll_token=finish.poll_token,
        patch=patch,
    )


def _names(finish: StageFinish) -> dict[str, Any]:
    stage = finish.stage
    return {
        "timestamp": finish.now.at,
        "workflow_run_id": finish.run.id,
        "workflow_id": finish.run.workflow_id,
        "stage_id": stage.stage_id,
        "stage_name": stage.stage_name,
        "stage_number": stage.stage_number,
        "generation": stage.generation,
    }


def _since_start(finish: StageFinish) -> int:
    started = finish.stage.started_at or finish.now.at
    return max(0, round((finish.now.at - started).total_seconds() * 1000))


def _error_log(finish: StageFinish, outcome: Failed) -> LogRecord:
    return LogRecord(
        id=finish.now.ids.new(),
        workflow_run_id=finish.run.id,
        level=LogLevel.ERROR,
        message=outcome.message,
        created_at=finish.now.at,
        stage_id=finish.stage.stage_id,
        stage_record_id=finish.stage.id,
        metadata={"code": outcome.code, "trace": outcome.trace},
    )


def _with_progress(write_set: WriteSet, finish: StageFinish, progress: Progress | None) -> WriteSet:
    if progress is None or write_set.stage is None:
        return write_set
    stage = replace(write_set.stage, patch={**write_set.stage.patch, "progress": progress.row()})
    return replace(
        write_set, stage=stage, events=(progress_event(finish.run, finish.stage, progress), *write_set.events)
    )


def progress_event(run: RunRecord, stage: StageRecord, progress: Progress) -> StageProgress:
    return StageProgress(
        timestamp=progress.at,
        workflow_run_id=run.id,
        workflow_id=run.workflow_id,
        stage_id=stage.stage_id,
        stage_name=stage.stage_name,
        stage_number=stage.stage_number,
        generation=stage.generation,
        progress=progress.progress,
        message=progress.message,
        details=progress.details,
    )
