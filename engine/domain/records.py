"""The stored records, one frozen class per table. Times are aware UTC datetimes; durations are named with the unit."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from engine.domain.lifecycle import JobStatus, RunStatus, StageStatus
from engine.domain.values import Json, StoredValue


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One execution of a workflow.

    `group_no` is the current execution group (0 before the first), `group_open` the number of its unfinished stages.
    `version` rises with status, group, failure and rerun. A RUNNING run with a `failure_code` is failing: it waits for
    the stages that still run.
    """

    id: str
    workflow_id: str
    workflow_name: str
    workflow_type: str
    definition_hash: str
    status: RunStatus
    input: StoredValue
    created_at: datetime
    updated_at: datetime
    config: Mapping[str, Json] = field(default_factory=dict)
    tenant: str | None = None
    output: StoredValue | None = None
    priority: int = 5
    version: int = 1
    event_seq: int = 0
    last_event_at: datetime | None = None
    group_no: int = 0
    group_open: int = 0
    started_at: datetime | None = None
    completed_at: datetime | None = None
    duration_ms: int | None = None
    total_cost: float = 0.0
    total_tokens: int = 0
    parent_run_id: str | None = None
    metadata: Mapping[str, Json] | None = None
    failure_code: str | None = None
    failure_message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRecord:
    """One stage of one run. `generation` counts the reruns from 0; a rerun replaces the record.

    `input_data` is set only if a rerun overrode the stage's input. Otherwise the input is the output of the group
    before.
    """

    id: str
    workflow_run_id: str
    stage_id: str
    stage_name: str
    stage_number: int
    execution_group: int
    status: StageStatus
    created_at: datetime
    updated_at: datetime
    generation: int = 0
    version: int = 1
    config: Mapping[str, Json] = field(default_factory=dict)
    started_at: datetime | None = None
    completed_at: datetime | None = None
    duration_ms: int | None = None
    input_data: StoredValue | None = None
    output_data: StoredValue | None = None
    suspended_state: Mapping[str, Json] | None = None
    next_poll_at: datetime | None = None
    poll_interval_s: float | None = None
    max_wait_until: datetime | None = None
    poll_token: str | None = None
    poll_until: datetime | None = None
    metrics: Mapping[str, Json] | None = None
    embedding_info: Mapping[str, Json] | None = None
    progress: Mapping[str, Json] | None = None
    total_cost: float = 0.0
    total_tokens: int = 0
    error_code: str | None = None
    error_message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """The job of one stage. Each claim raises `attempt`, to 1 first.

    The due job with the lowest `rank` is claimed first: `due_at` minus `priority` minutes. `lease_token` stays after
    the job ends, so that a repeated finish is recognised.
    """

    id: str
    workflow_run_id: str
    stage_record_id: str
    stage_id: str
    pool: str
    status: JobStatus
    due_at: datetime
    rank: datetime
    created_at: datetime
    updated_at: datetime
    priority: int = 5
    attempt: int = 0
    max_attempts: int = 3
    worker_id: str | None = None
    lease_token: str | None = None
    lease_until: datetime | None = None
    last_error: str | None = None
    trace_context: str | None = None


class LogLevel(StrEnum):
    DEBUG = "DEBUG"
    INFO = "INFO"
    WARN = "WARN"
    ERROR = "ERROR"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRecord:
    """A log line of a stage or, without a stage, of the engine. Ids sort in order of writing."""

    id: str
    workflow_run_id: str
    level: LogLevel
    message: str
    created_at: datetime
    stage_id: str | None = None
    stage_record_id: str | None = None
    metadata: Mapping[str, Json] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactRecord:
    """A named file of a stage in the blob store. `size` is in bytes, `sha256` in hex."""

    id: str
    workflow_run_id: str
    stage_record_id: str
    stage_id: str
    name: str
    blob_key: str
    size: int
    content_type: str
    sha256: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotationRecord:
    """An annotation of a run or stage: a dotted key, a value, and its author."""

    id: str
    workflow_run_id: str
    scope: str
    scope_id: str
    generation: int
    key: str
    value: Json
    created_at: datetime
    stage_record_id: str | None = None
    actor_kind: str | None = None
    actor_id: str | None = None
    actor_version: str | None = None
    payload: Json = None
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxRecord:
    """An event in the outbox, published or not. `id` is `{run}.{sequence}` and stable for consumers."""

    id: str
    workflow_run_id: str
    sequence: int
    event_type: str
    payload: Mapping[str, Any]
    occurred_at: datetime
    causation_id: str | None = None
    claim_token: str | None = None
    claimed_until: datetime | None = None
    next_attempt_at: datetime | None = None
    published_at: datetime | None = None
    retry_count: int = 0
    dlq_at: datetime | None = None
    last_error: str | None = None


class KeyState(StrEnum):
    IN_PROGRESS = "IN_PROGRESS"
    DONE = "DONE"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """A command's result under its idempotency key. Unique by (tenant, command_type, key); tenant "" means none."""

    tenant: str
    command_type: str
    key: str
    request_hash: str
    state: KeyState
    acquired_at: datetime
    result: Mapping[str, Json] | None = None
    expires_at: datetime | None = None
