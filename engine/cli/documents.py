"""Runs as JSON documents, for scripts."""

from collections.abc import Mapping, Sequence
from typing import Any

from engine.cli.following import Events, Logs, Mark, mark_of, split
from engine.cli.run_cost import unknown_calls
from engine.domain.records import ArtifactRecord, JobRecord, OutboxRecord, RunRecord, StageRecord
from engine.domain.values import Json
from engine.ports.reads import Reads, RunView
from engine.ports.transaction import AnnotationFilter

MOST_ANNOTATIONS = 1_000_000


def run_summary(run: RunRecord) -> dict[str, Json]:
    """A run in a list."""
    return {
        "run_id": run.id,
        "workflow_id": run.workflow_id,
        "status": run.status,
        "tenant": run.tenant,
        "priority": run.priority,
        "created_at": run.created_at,
        "started_at": run.started_at,
        "completed_at": run.completed_at,
        "duration_ms": run.duration_ms,
        "total_cost": run.total_cost,
        "total_tokens": run.total_tokens,
        "error": _error(run.failure_code, run.failure_message),
    }


def run_document(reads: Reads, view: RunView) -> dict[str, Json]:
    """One run with its stages, output and artifacts. `unknown_costs`: calls that `total_cost` leaves out."""
    events, unknown = Events(reads, view.run.id).new(), unknown_calls(reads.call_totals(view.run.id))
    stages = stage_documents(view, events)
    return {
        **run_summary(view.run),
        "unknown_costs": sum(unknown.values()),
        "output": reads.value(view.run.output),
        "stages": [{**stage, "unknown_costs": unknown[stage["stage_id"]]} for stage in stages],
        "artifacts": [artifact_document(artifact) for artifact in reads.artifacts(view.run.id)],
    }


def export_document(reads: Reads, view: RunView) -> dict[str, Json]:
    """Everything stored of a run, with its values; artifacts by name, size and SHA-256."""
    run = view.run
    values = {stage.stage_id: _values(reads, stage) for stage in view.stages}
    document = run_document(reads, view)
    return {
        **document,
        "input": reads.value(run.input),
        "config": run.config,
        "definition_hash": run.definition_hash,
        "parent_run_id": run.parent_run_id,
        "metadata": run.metadata,
        "stages": [{**stage, **values[stage["stage_id"]]} for stage in document["stages"]],
        "jobs": view.jobs,
        "logs": Logs(reads, run.id).new(),
        "events": [event_document(event) for event in Events(reads, run.id).new()],
        "annotations": reads.annotations(run.id, AnnotationFilter(limit=MOST_ANNOTATIONS)),
    }


def stage_documents(view: RunView, events: Sequence[OutboxRecord]) -> list[dict[str, Json]]:
    jobs = {job.stage_record_id: job for job in view.jobs}
    marks: dict[tuple[str, int], list[Mark]] = {}
    for event in events:
        if mark := mark_of(event):
            marks.setdefault((event.payload["stage_id"], event.payload["generation"]), []).append(mark)
    return [
        _stage_document(stage, jobs.get(stage.id), marks.get((stage.stage_id, stage.generation), []), view.run)
        for stage in view.stages
    ]


def _stage_document(
    stage: StageRecord, job: JobRecord | None, marks: Sequence[Mark], run: RunRecord
) -> dict[str, Json]:
    time = split(stage.created_at, marks, stage.completed_at or run.completed_at or run.updated_at)
    return {
        "stage_id": stage.stage_id,
        "name": stage.stage_name,
        "execution_group": stage.execution_group,
        "status": stage.status,
        "generation": stage.generation,
        "attempts": job.attempt if job else 0,
        "duration_ms": stage.duration_ms,
        "queued_ms": round(time.queued * 1000),
        "running_ms": round(time.running * 1000),
        "suspended_ms": round(time.suspended * 1000),
        "total_cost": stage.total_cost,
        "total_tokens": stage.total_tokens,
        "metrics": stage.metrics,
        "error": _error(stage.error_code, stage.error_message),
    }


def artifact_document(artifact: ArtifactRecord) -> dict[str, Json]:
    return {
        "stage_id": artifact.stage_id,
        "name": artifact.name,
        "size": artifact.size,
        "content_type": artifact.content_type,
        "sha256": artifact.sha256,
        "blob_key": artifact.blob_key,
    }


def event_document(event: OutboxRecord) -> dict[str, Json]:
    return {
        "id": event.id,
        "sequence": event.sequence,
        "type": event.event_type,
        "occurred_at": event.occurred_at,
        "published_at": event.published_at,
        "dlq_at": event.dlq_at,
        "retry_count": event.retry_count,
        "last_error": event.last_error,
        "payload": event.payload,
    }


def _values(reads: Reads, stage: StageRecord) -> Mapping[str, Any]:
    return {
        "config": stage.config,
        "input": reads.value(stage.input_data),
        "output": reads.value(stage.output_data),
        "progress": stage.progress,
        "suspended_state": stage.suspended_state,
    }


def _error(code: str | None, message: str | None) -> dict[str, str | None] | None:
    return None if code is None and message is None else {"code": code, "message": message}
