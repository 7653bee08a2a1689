"""Rows and write sets that suites are told with. Everything has a name that says what it is: run "r", its stage "r.a",
that stage's job "r.a.job"."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from engine.domain.events import (
    AnnotationCreated,
    Event,
    StageCompleted,
    StageFailed,
    StageSuspended,
    WorkflowCompleted,
    WorkflowCreated,
    WorkflowFailed,
)
from engine.domain.lifecycle import OPEN, Status
from engine.domain.records import (
    AnnotationRecord,
    ArtifactRecord,
    JobRecord,
    LogLevel,
    LogRecord,
    RunRecord,
    StageRecord,
)
from engine.domain.stored_value import inline
from engine.ports.persistence import ClaimRequest
from engine.ports.write_set import (
    AnnotationDraft,
    Closes,
    CompleteRun,
    JobChange,
    JobDraft,
    Lease,
    OpenGroup,
    StageChange,
    WriteSet,
)
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
        status=Status.RUNNING,
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
        status=Status.PENDING,
        created_at=AT,
        updated_at=AT,
    )
    return replace(blank, **columns)


def a_job(stage_id: str = "a", run_id: str = "r", **columns: Any) -> JobRecord:
    blank = JobRecord(
        id=f"{run_id}.{stage_id}.job",
        workflow_run_id=run_id,
        stage_record_id=f"{run_id}.{stage_id}",
        stage_id=stage_id,
        pool="default",
        status=Status.PENDING,
        due_at=AT,
        created_at=AT,
        updated_at=AT,
    )
    return replace(blank, **columns)


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


def an_event(run_id: str = "r", seconds: float = 0) -> Event:
    return WorkflowCreated(timestamp=at(seconds), workflow_run_id=run_id, workflow_id="w")


def noted_event(note: AnnotationRecord) -> AnnotationCreated:
    return AnnotationCreated(
        timestamp=AT,
        workflow_run_id=note.workflow_run_id,
        workflow_id="w",
        annotation_id=note.id,
        key=note.key,
        value=note.value,
        scope=note.scope,
        scope_id=note.scope_id,
        generation=note.generation,
    )


def noted(annotation_id: str, **columns: Any) -> AnnotationDraft:
    """An annotation that is told of."""
    note = an_annotation(annotation_id, **columns)
    return AnnotationDraft(record=note, event=noted_event(note))


def completed_event(run_id: str = "r") -> WorkflowCompleted:
    return WorkflowCompleted(timestamp=AT, workflow_run_id=run_id, workflow_id="w")


def failed_event(run_id: str = "r") -> WorkflowFailed:
    return WorkflowFailed(timestamp=AT, workflow_run_id=run_id, workflow_id="w")


def names(stage_id: str, run_id: str = "r") -> Mapping[str, Any]:
    return {
        "timestamp": AT,
        "workflow_run_id": run_id,
        "workflow_id": "w",
        "stage_id": stage_id,
        "stage_name": stage_id.upper(),
        "stage_number": 1,
    }


def draft(stage_id: str, run_id: str = "r", **columns: Any) -> JobDraft:
    blank = JobDraft(
        id=f"{run_id}.{stage_id}.job",
        stage_record_id=f"{run_id}.{stage_id}",
        stage_id=stage_id,
        pool="default",
        priority=5,
        max_attempts=3,
    )
    return replace(blank, **columns)


def a_group(group_no: int, *stage_ids: str, run_id: str = "r", **fields: Any) -> OpenGroup:
    return OpenGroup(
        group_no=group_no,
        stages=tuple(
            a_stage(stage_id, run_id, execution_group=group_no, stage_number=10 * group_no + place)
            for place, stage_id in enumerate(stage_ids)
        ),
        jobs=tuple(draft(stage_id, run_id) for stage_id in stage_ids),
        **fields,
    )


def a_lease(token: str = "t", seconds: float = LEASE_SECONDS) -> Lease:
    return Lease(worker_id=f"worker of {token}", token=token, seconds=seconds)


def claim(stage_id: str = "a", token: str = "t", run_id: str = "r", seconds: float = LEASE_SECONDS) -> ClaimRequest:
    return ClaimRequest(lease=a_lease(token, seconds), at=at(1), job_id=f"{run_id}.{stage_id}.job")


def claim_any(token: str = "t", **fields: Any) -> ClaimRequest:
    return ClaimRequest(**{"lease": a_lease(token), "at": at(1), "pools": ("default",), **fields})


def begun(*stage_ids: str, run_id: str = "r", **fields: Any) -> WriteSet:
    """A run that is created RUNNING with its first group."""
    group = a_group(1, *stage_ids, run_id=run_id)
    return WriteSet(run_id=run_id, at=AT, create=a_run(run_id), opens=group, events=(an_event(run_id),), **fields)


def completes(stage_id: str = "a", token: str | None = "t", run_id: str = "r", **fields: Any) -> WriteSet:
    patch = {
        "status": Status.COMPLETED,
        "output_data": inline(f"out of {stage_id}"),
        "completed_at": at(2),
        "error_code": None,
        "error_message": None,
    }
    defaults: dict[str, Any] = {
        "job": JobChange(job_id=f"{run_id}.{stage_id}.job", to=Status.COMPLETED, token=token),
        "stage": StageChange(record_id=f"{run_id}.{stage_id}", status_in=frozenset({Status.RUNNING}), patch=patch),
        "closes": Closes.STAGE,
        "then": CompleteRun(event=completed_event(run_id)),
        "failed_event": failed_event(run_id),
        "events": (StageCompleted(**names(stage_id, run_id), duration_ms=1000),),
    }
    return WriteSet(run_id=run_id, at=at(2), **{**defaults, **fields})


def fails(
    stage_id: str = "a", token: str = "t", run_id: str = "r", *, retry_in: float | None = None, **fields: Any
) -> WriteSet:
    """For good, or with another try to come."""
    error, for_good = f"{stage_id} broke", retry_in is None
    patch = {"status": Status.FAILED, "error_code": "BROKEN", "error_message": error}
    to = Status.FAILED if for_good else Status.PENDING
    event = StageFailed(**names(stage_id, run_id), error=error, error_code="BROKEN", will_retry=not for_good)
    defaults: dict[str, Any] = {
        "run": {"failure_code": "BROKEN", "failure_message": error} if for_good else {},
        "job": JobChange(job_id=f"{run_id}.{stage_id}.job", to=to, token=token, due_in=retry_in or 0.0, error=error),
        "stage": StageChange(record_id=f"{run_id}.{stage_id}", status_in=frozenset({Status.RUNNING}), patch=patch),
        "closes": Closes.GROUP if for_good else Closes.NOTHING,
        "failed_event": failed_event(run_id),
        "events": (event,),
    }
    return WriteSet(run_id=run_id, at=at(2), **{**defaults, **fields})


def suspends(stage_id: str = "a", token: str = "t", run_id: str = "r") -> WriteSet:
    patch = {"status": Status.SUSPENDED, "suspended_state": {"batch": 7}, "next_poll_at": at(60)}
    return WriteSet(
        run_id=run_id,
        at=at(2),
        job=JobChange(job_id=f"{run_id}.{stage_id}.job", to=Status.SUSPENDED, token=token),
        stage=StageChange(record_id=f"{run_id}.{stage_id}", status_in=frozenset({Status.RUNNING}), patch=patch),
        failed_event=failed_event(run_id),
        events=(StageSuspended(**names(stage_id, run_id), next_poll_at=at(60)),),
    )


def releases_lease(stage_id: str = "a", run_id: str = "r", **change: Any) -> WriteSet:
    """A lease taken away: the job is PENDING again."""
    return WriteSet(
        run_id=run_id,
        at=at(3),
        job=JobChange(job_id=f"{run_id}.{stage_id}.job", to=Status.PENDING, **change),
        stage=StageChange(
            record_id=f"{run_id}.{stage_id}",
            status_in=frozenset({Status.RUNNING}),
            patch={"status": Status.PENDING},
        ),
        failed_event=failed_event(run_id),
    )


def cancels(run_id: str = "r", **fields: Any) -> WriteSet:
    defaults: dict[str, Any] = {
        "run": {"status": Status.CANCELLED},
        "run_in": frozenset({Status.PENDING, Status.RUNNING}),
        "closes": Closes.RUN,
        "events": (an_event(run_id),),
    }
    return WriteSet(run_id=run_id, at=at(4), **{**defaults, **fields})


def polled(stage_id: str = "a", run_id: str = "r", token: str = "poll", **fields: Any) -> WriteSet:
    """A suspended stage found ready."""
    whole = completes(stage_id, None, run_id, **fields)
    assert whole.stage is not None
    suspended = frozenset({Status.SUSPENDED})
    return replace(
        whole,
        job=JobChange(job_id=f"{run_id}.{stage_id}.job", to=Status.COMPLETED, status_in=suspended),
        stage=replace(whole.stage, status_in=suspended, poll_token=token),
    )


def is_open(record: RunRecord | StageRecord | JobRecord) -> bool:
    return record.status in OPEN
