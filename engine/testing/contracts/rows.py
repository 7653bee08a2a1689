"""Rows and claim requests for the suites. Ids are speaking: run "r", its stage "r.a", that stage's job "r.a.job"."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from engine.domain.events import Event, WorkflowCreated
from engine.domain.lifecycle import JobStatus, RunStatus, StageStatus
from engine.domain.records import (
    AnnotationRecord,
    ArtifactRecord,
    JobRecord,
    KeyRecord,
    KeyState,
    LogLevel,
    LogRecord,
    RunRecord,
    StageRecord,
)
from engine.domain.values import inline
from engine.ports.persistence import ClaimRequest, Lease
from engine.testing.clock import START

AT = START
LEASE_SECONDS = 60.0


def at(seconds: float) -> datetime:
    return AT + timedelta(seconds=seconds)


def a_run(run_id: str = "r", **columns: Any) -> RunRecord:
    blank = RunRecord(
        id=run_id,
        workflow_id="w",
        workflow_name="W",
        workflow_type="w",
        definition_hash="h",
        status=RunStatus.RUNNING,
        input=inline({"n": 1}),
        created_at=AT,
        updated_at=AT,
        started_at=AT,
    )
    return replace(blank, **columns)


def a_stage(stage_id: str = "a", run_id: str = "r", **columns: Any) -> StageRecord:
    blank = StageRecord(
        id=f"{run_id}.{stage_id}",
        workflow_run_id=run_id,
        stage_id=stage_id,
        stage_name=stage_id.upper(),
        stage_number=1,
        execution_group=1,
        status=StageStatus.PENDING,
        created_at=AT,
        updated_at=AT,
    )
    return replace(blank, **columns)


def a_job(stage_id: str = "a", run_id: str = "r", **columns: Any) -> JobRecord:
    """Due at once unless `due_at` is given; its rank follows from that and the priority."""
    blank = JobRecord(
        id=f"{run_id}.{stage_id}.job",
        workflow_run_id=run_id,
        stage_record_id=f"{run_id}.{stage_id}",
        stage_id=stage_id,
        pool="default",
        status=JobStatus.PENDING,
        due_at=AT,
        rank=AT,
        created_at=AT,
        updated_at=AT,
    )
    job = replace(blank, **columns)
    return job if "rank" in columns else replace(job, rank=job.due_at - timedelta(minutes=job.priority))


def a_log(log_id: str, run_id: str = "r", **columns: Any) -> LogRecord:
    blank = LogRecord(id=log_id, workflow_run_id=run_id, level=LogLevel.INFO, message=f"said {log_id}", created_at=AT)
    return replace(blank, **columns)


def an_artifact(name: str, stage_id: str = "a", run_id: str = "r") -> ArtifactRecord:
    return ArtifactRecord(
        id=f"{run_id}.{stage_id}.{name}",
        workflow_run_id=run_id,
        stage_record_id=f"{run_id}.{stage_id}",
        stage_id=stage_id,
        name=name,
        blob_key=f"workflow-v2/w/{run_id}/{name}",
        size=3,
        content_type="text/plain",
        sha256="0" * 64,
        created_at=AT,
    )


def an_annotation(annotation_id: str, key: str = "k", run_id: str = "r", **columns: Any) -> AnnotationRecord:
    blank = AnnotationRecord(
        id=annotation_id,
        workflow_run_id=run_id,
        scope="run",
        scope_id=run_id,
        generation=0,
        key=key,
        value={"is": annotation_id},
        created_at=AT,
    )
    return replace(blank, **columns)


def a_key(key: str = "k", **columns: Any) -> KeyRecord:
    blank = KeyRecord(
        tenant="", command_type="run.create", key=key, request_hash="h", state=KeyState.DONE, acquired_at=AT
    )
    return replace(blank, **columns)


def an_event(run_id: str = "r") -> Event:
    return WorkflowCreated(timestamp=AT, workflow_run_id=run_id, workflow_id="w")


def names(stage_id: str, run_id: str = "r") -> Mapping[str, Any]:
    """The fields all events of a stage have."""
    return {
        "timestamp": AT,
        "workflow_run_id": run_id,
        "workflow_id": "w",
        "stage_id": stage_id,
        "stage_name": stage_id.upper(),
        "stage_number": 1,
    }


def a_lease(token: str = "t", seconds: float = LEASE_SECONDS) -> Lease:
    return Lease(worker_id=f"worker of {token}", token=token, seconds=seconds)


def held(token: str = "t", *, until: float = LEASE_SECONDS) -> dict[str, Any]:
    """The columns of a RUNNING job under that lease."""
    return {
        "status": JobStatus.RUNNING,
        "worker_id": f"worker of {token}",
        "lease_token": token,
        "lease_until": at(until),
    }


def claim(stage_id: str = "a", token: str = "t", run_id: str = "r", seconds: float = LEASE_SECONDS) -> ClaimRequest:
    return ClaimRequest(lease=a_lease(token, seconds), at=at(1), job_id=f"{run_id}.{stage_id}.job")


def claim_any(token: str = "t", **fields: Any) -> ClaimRequest:
    return ClaimRequest(**{"lease": a_lease(token), "at": at(1), "pools": ("default",), **fields})
