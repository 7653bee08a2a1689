"""Events that more than one transition emits."""

from datetime import datetime
from typing import Any

from engine.domain.events import Event, StageFailed, StageProgress, StageStarted, WorkflowFailed
from engine.domain.records import JobRecord, RunRecord, StageRecord
from engine.transitions.facts import Progress


def names_of_stage(run: RunRecord, stage: StageRecord, at: datetime) -> dict[str, Any]:
    """The fields all events of a stage have."""
    return {
        "timestamp": at,
        "workflow_run_id": run.id,
        "workflow_id": run.workflow_id,
        "stage_id": stage.stage_id,
        "stage_name": stage.stage_name,
        "stage_number": stage.stage_number,
        "generation": stage.generation,
    }


def names_of_run(run: RunRecord, at: datetime) -> dict[str, Any]:
    """The fields all events of a run have."""
    return {"timestamp": at, "workflow_run_id": run.id, "workflow_id": run.workflow_id}


def workflow_failed(run: RunRecord, at: datetime, *, code: str, message: str) -> WorkflowFailed:
    return WorkflowFailed(**names_of_run(run, at), error=message, error_code=code)


def stage_failed(
    run: RunRecord, stage: StageRecord, at: datetime, *, code: str, message: str, will_retry: bool
) -> StageFailed:
    return StageFailed(**names_of_stage(run, stage, at), error=message, error_code=code, will_retry=will_retry)


def stage_progress(run: RunRecord, stage: StageRecord, progress: Progress) -> Event:
    return StageProgress(
        **names_of_stage(run, stage, progress.at),
        progress=progress.progress,
        message=progress.message,
        details=progress.details,
    )


def stage_started(run: RunRecord, stage: StageRecord, job: JobRecord, at: datetime) -> StageStarted:
    return StageStarted(**names_of_stage(run, stage, at), attempt=job.attempt)
