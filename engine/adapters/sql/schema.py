"""The tables. Their columns are the fields of `engine.domain.records`; the indexes keep frequent queries fast.

Indexes on a status name it literally, here and in the queries: only then may either database use them.
"""

from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    and_,
    literal_column,
)

from engine.adapters.sql.column_types import BytewiseText, Document, EnumText, Instant
from engine.domain.ai_calls import CallState
from engine.domain.lifecycle import ENDED_RUNS, OPEN_JOBS, JobStatus, RunStatus, StageStatus
from engine.domain.records import KeyState, LogLevel

METADATA = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
    }
)


def is_in(column: ColumnElement[Any], *statuses: StrEnum) -> ColumnElement[bool]:
    """The column has one of the statuses, written as literals."""
    words: list[ColumnElement[Any]] = [literal_column(f"'{status}'") for status in sorted(statuses)]
    return column == words[0] if len(words) == 1 else column.in_(words)


def _run(*, primary_key: bool = False) -> Column[Any]:
    """The run of a row. The row is deleted with it."""
    return Column(
        "workflow_run_id",
        BytewiseText,
        ForeignKey("workflow_run.id", ondelete="CASCADE"),
        primary_key=primary_key,
        nullable=False,
    )


RUNS = Table(
    "workflow_run",
    METADATA,
    Column("id", BytewiseText, primary_key=True),
    Column("workflow_id", BytewiseText, nullable=False),
    Column("workflow_name", Text, nullable=False),
    Column("workflow_type", Text, nullable=False),
    Column("definition_hash", Text, nullable=False),
    Column("status", EnumText(RunStatus), nullable=False),
    Column("input", Document(required=True), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("config", Document(required=True), nullable=False),
    Column("tenant", BytewiseText),
    Column("output", Document),
    Column("priority", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("event_seq", Integer, nullable=False),
    Column("last_event_at", Instant),
    Column("group_no", Integer, nullable=False),
    Column("group_open", Integer, nullable=False),
    Column("started_at", Instant),
    Column("completed_at", Instant),
    Column("duration_ms", BigInteger),
    Column("total_cost", Double, nullable=False),
    Column("total_tokens", BigInteger, nullable=False),
    Column("parent_run_id", BytewiseText),
    Column("metadata", Document),
    Column("failure_code", Text),
    Column("failure_message", Text),
)

STAGES = Table(
    "workflow_stage",
    METADATA,
    Column("id", BytewiseText, primary_key=True),
    _run(),
    Column("stage_id", BytewiseText, nullable=False),
    Column("stage_name", Text, nullable=False),
    Column("stage_number", Integer, nullable=False),
    Column("execution_group", Integer, nullable=False),
    Column("status", EnumText(StageStatus), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("config", Document(required=True), nullable=False),
    Column("started_at", Instant),
    Column("completed_at", Instant),
    Column("duration_ms", BigInteger),
    Column("input_data", Document),
    Column("output_data", Document),
    Column("suspended_state", Document),
    Column("next_poll_at", Instant),
    Column("poll_interval_s", Double),
    Column("max_wait_until", Instant),
    Column("poll_token", Text),
    Column("poll_until", Instant),
    Column("metrics", Document),
    Column("embedding_info", Document),
    Column("progress", Document),
    Column("total_cost", Double, nullable=False),
    Column("total_tokens", BigInteger, nullable=False),
    Column("error_code", Text),
    Column("error_message", Text),
    UniqueConstraint("workflow_run_id", "stage_id"),
)

JOBS = Table(
    "job",
    METADATA,
    Column("id", BytewiseText, primary_key=True),
    _run(),
    # No foreign key: a rerun replaces the stage record and keeps the job as history.
    Column("stage_record_id", BytewiseText, nullable=False),
    Column("stage_id", BytewiseText, nullable=False),
    Column("pool", BytewiseText, nullable=False),
    Column("status", EnumText(JobStatus), nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("rank", Instant, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("max_attempts", Integer, nullable=False),
    Column("worker_id", Text),
    Column("lease_token", Text),
    Column("lease_until", Instant),
    Column("last_error", Text),
    Column("trace_context", Text),
)

LOGS = Table(
    "workflow_log",
    METADATA,
    Column("id", BytewiseText, primary_key=True),
    _run(),
    Column("level", EnumText(LogLevel), nullable=False),
    Column("message", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("stage_id", BytewiseText),
    Column("stage_record_id", BytewiseText),
    Column("metadata", Document),
)

ARTIFACTS = Table(
    "workflow_artifact",
    METADATA,
    Column("id", BytewiseText, primary_key=True),
    _run(),
    Column("stage_record_id", BytewiseText, nullable=False),
    Column("stage_id", BytewiseText, nullable=False),
    Column("name", BytewiseText, nullable=False),
    Column("blob_key", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
)

ANNOTATIONS = Table(
    "workflow_annotation",
    METADATA,
    # Order of insertion, which times and ids of several processes do not show.
    Column("position", BigInteger().with_variant(Integer, "sqlite"), Identity(), primary_key=True),
    Column("id", BytewiseText, nullable=False, unique=True),
    _run(),
    Column("scope", Text, nullable=False),
    Column("scope_id", Text, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("key", BytewiseText, nullable=False),
    Column("value", Document),
    Column("created_at", Instant, nullable=False),
    Column("stage_record_id", BytewiseText, ForeignKey("workflow_stage.id", ondelete="SET NULL")),
    Column("actor_kind", Text),
    Column("actor_id", Text),
    Column("actor_version", Text),
    Column("payload", Document),
    Column("idempotency_key", BytewiseText),
    # Also finds the keys of a run by prefix.
    UniqueConstraint("workflow_run_id", "key", "idempotency_key"),
)

OUTBOX = Table(
    "outbox_event",
    METADATA,
    Column("id", BytewiseText, primary_key=True),
    _run(),
    Column("sequence", Integer, nullable=False),
    Column("event_type", BytewiseText, nullable=False),
    Column("payload", Document(required=True), nullable=False),
    Column("occurred_at", Instant, nullable=False),
    Column("causation_id", Text),
    Column("claim_token", Text),
    Column("claimed_until", Instant),
    Column("next_attempt_at", Instant),
    Column("published_at", Instant),
    Column("retry_count", Integer, nullable=False),
    Column("dlq_at", Instant),
    Column("last_error", Text),
    UniqueConstraint("workflow_run_id", "sequence"),
)

DELIVERIES = Table(
    "plugin_delivery",
    METADATA,
    Column("event_id", BytewiseText, ForeignKey("outbox_event.id", ondelete="CASCADE"), primary_key=True),
    Column("name", BytewiseText, primary_key=True),
)

KEYS = Table(
    "idempotency_key",
    METADATA,
    Column("tenant", BytewiseText, primary_key=True),
    Column("command_type", BytewiseText, primary_key=True),
    Column("key", BytewiseText, primary_key=True),
    Column("request_hash", Text, nullable=False),
    Column("state", EnumText(KeyState), nullable=False),
    Column("acquired_at", Instant, nullable=False),
    Column("result", Document),
    Column("expires_at", Instant),
)

AI_CALLS = Table(
    "ai_call",
    METADATA,
    Column("id", BytewiseText, primary_key=True),
    Column("topic", BytewiseText, nullable=False),
    Column("call_type", Text, nullable=False),
    Column("model_key", BytewiseText, nullable=False),
    Column("state", EnumText(CallState), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("workflow_run_id", BytewiseText, ForeignKey("workflow_run.id", ondelete="CASCADE")),
    # No foreign key: a rerun replaces the stage record, and its calls stay in the ledger.
    Column("stage_record_id", BytewiseText),
    Column("stage_id", BytewiseText),
    Column("generation", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("scope", BytewiseText),
    Column("model_id", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("prompt", Document),
    Column("response", Document),
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False),
    Column("reasoning_tokens", BigInteger, nullable=False),
    Column("cost", Double),
    Column("reserved_cost", Double),
    Column("reserved_tokens", BigInteger, nullable=False),
    Column("duration_ms", BigInteger),
    Column("batch_id", BytewiseText),
    Column("request_hash", Text),
    Column("error", Text),
    Column("metadata", Document),
)

SPENDING = Table(
    "ai_spending",
    METADATA,
    Column("scope", BytewiseText, primary_key=True),
    Column("workflow_run_id", BytewiseText, ForeignKey("workflow_run.id", ondelete="CASCADE")),
    Column("stage_id", BytewiseText),
    Column("spent_cost", Double, nullable=False),
    Column("spent_tokens", BigInteger, nullable=False),
    Column("reserved_cost", Double, nullable=False),
    Column("reserved_tokens", BigInteger, nullable=False),
)

EVENT_IS_OPEN = and_(OUTBOX.c.published_at.is_(None), OUTBOX.c.dlq_at.is_(None))


def _partial(name: str, *columns: Any, where: ColumnElement[bool]) -> Index:
    return Index(name, *columns, postgresql_where=where, sqlite_where=where)


_partial(
    "workflow_run_pending",
    RUNS.c.priority.desc(),
    RUNS.c.created_at,
    RUNS.c.id,
    where=is_in(RUNS.c.status, RunStatus.PENDING),
)
_partial("workflow_run_running", RUNS.c.updated_at, RUNS.c.id, where=is_in(RUNS.c.status, RunStatus.RUNNING))
_partial("workflow_run_ended", RUNS.c.completed_at, RUNS.c.id, where=RUNS.c.completed_at.is_not(None))
Index("workflow_run_by_status", RUNS.c.status, RUNS.c.id)
Index("workflow_run_by_workflow", RUNS.c.workflow_id, RUNS.c.id)
_partial("workflow_run_by_tenant", RUNS.c.tenant, RUNS.c.id, where=RUNS.c.tenant.is_not(None))
Index("workflow_run_by_time", RUNS.c.created_at)

_partial("workflow_stage_due", STAGES.c.next_poll_at, where=is_in(STAGES.c.status, StageStatus.SUSPENDED))

_partial(
    "job_due",
    JOBS.c.pool,
    JOBS.c.rank,
    JOBS.c.id,
    where=is_in(JOBS.c.status, JobStatus.PENDING),
)
_partial("job_leases", JOBS.c.lease_until, where=is_in(JOBS.c.status, JobStatus.RUNNING))
_partial("job_open", JOBS.c.created_at, JOBS.c.id, where=is_in(JOBS.c.status, *OPEN_JOBS))
Index("job_of_run", JOBS.c.workflow_run_id)

Index("workflow_log_of_run", LOGS.c.workflow_run_id, LOGS.c.id)
Index("workflow_artifact_of_run", ARTIFACTS.c.workflow_run_id)
_partial(
    "workflow_annotation_of_stage",
    ANNOTATIONS.c.stage_record_id,
    where=ANNOTATIONS.c.stage_record_id.is_not(None),
)

_partial("outbox_event_open", OUTBOX.c.workflow_run_id, OUTBOX.c.sequence, where=EVENT_IS_OPEN)
_partial("outbox_event_oldest", OUTBOX.c.occurred_at, OUTBOX.c.id, where=EVENT_IS_OPEN)
_partial(
    "outbox_event_dead",
    OUTBOX.c.occurred_at,
    OUTBOX.c.workflow_run_id,
    OUTBOX.c.sequence,
    where=OUTBOX.c.dlq_at.is_not(None),
)

Index("idempotency_key_by_age", KEYS.c.acquired_at)

Index("ai_call_of_run", AI_CALLS.c.workflow_run_id, AI_CALLS.c.id)
Index("ai_call_by_topic", AI_CALLS.c.topic)
_partial("ai_call_of_batch", AI_CALLS.c.batch_id, where=AI_CALLS.c.batch_id.is_not(None))
_partial(
    "ai_call_by_request",
    AI_CALLS.c.workflow_run_id,
    AI_CALLS.c.request_hash,
    where=AI_CALLS.c.request_hash.is_not(None),
)
_partial("ai_spending_of_run", SPENDING.c.workflow_run_id, where=SPENDING.c.workflow_run_id.is_not(None))

HAS_ENDED = is_in(RUNS.c.status, *ENDED_RUNS)
