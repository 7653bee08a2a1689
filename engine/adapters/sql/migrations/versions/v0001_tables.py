"""The tables, and the functions that write and claim in one round trip on PostgreSQL."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from engine.adapters.sql.column_types import POSTGRESQL, BytewiseText, Document, Instant
from engine.adapters.sql.functions.sources import source

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_FUNCTIONS = ("engine_write_v1", "engine_claim_v1")


def upgrade() -> None:
    _runs()
    _stages()
    _jobs()
    _logs()
    _artifacts()
    _annotations()
    _outbox()
    _deliveries()
    _keys()
    _indexes_of_runs()
    _indexes_of_jobs()
    _indexes_of_the_rest()
    if op.get_context().dialect.name == POSTGRESQL:
        for name in _FUNCTIONS:
            # SQLAlchemy reads a colon as the start of a parameter.
            op.execute(sa.text(source(name).replace(":", "\\:")))


def _key(*columns: str, table: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=f"{table}_pkey")


def _of_run(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["workflow_run_id"], ["workflow_run.id"], name=f"{table}_workflow_run_id_fkey", ondelete="CASCADE"
    )


def _index(name: str, table: str, columns: Sequence[str], where: str | None = None) -> None:
    """Columns may say DESC."""
    expressions = [sa.text(column) if " " in column else column for column in columns]
    condition = None if where is None else sa.text(where)
    op.create_index(name, table, expressions, postgresql_where=condition, sqlite_where=condition)


def _runs() -> None:
    op.create_table(
        "workflow_run",
        sa.Column("id", BytewiseText, nullable=False),
        sa.Column("workflow_id", BytewiseText, nullable=False),
        sa.Column("workflow_name", sa.Text, nullable=False),
        sa.Column("workflow_type", sa.Text, nullable=False),
        sa.Column("definition_hash", sa.Text, nullable=False),
        sa.Column("status", BytewiseText, nullable=False),
        sa.Column("input", Document, nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("updated_at", Instant, nullable=False),
        sa.Column("config", Document, nullable=False),
        sa.Column("tenant", BytewiseText),
        sa.Column("output", Document),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("event_seq", sa.Integer, nullable=False),
        sa.Column("last_event_at", Instant),
        sa.Column("group_no", sa.Integer, nullable=False),
        sa.Column("group_open", sa.Integer, nullable=False),
        sa.Column("started_at", Instant),
        sa.Column("completed_at", Instant),
        sa.Column("duration_ms", sa.BigInteger),
        sa.Column("total_cost", sa.Double, nullable=False),
        sa.Column("total_tokens", sa.BigInteger, nullable=False),
        sa.Column("parent_run_id", BytewiseText),
        sa.Column("metadata", Document),
        sa.Column("failure_code", sa.Text),
        sa.Column("failure_message", sa.Text),
        _key("id", table="workflow_run"),
    )


def _stages() -> None:
    op.create_table(
        "workflow_stage",
        sa.Column("id", BytewiseText, nullable=False),
        sa.Column("workflow_run_id", BytewiseText, nullable=False),
        sa.Column("stage_id", BytewiseText, nullable=False),
        sa.Column("stage_name", sa.Text, nullable=False),
        sa.Column("stage_number", sa.Integer, nullable=False),
        sa.Column("execution_group", sa.Integer, nullable=False),
        sa.Column("status", BytewiseText, nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("updated_at", Instant, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("config", Document, nullable=False),
        sa.Column("started_at", Instant),
        sa.Column("completed_at", Instant),
        sa.Column("duration_ms", sa.BigInteger),
        sa.Column("input_data", Document),
        sa.Column("output_data", Document),
        sa.Column("suspended_state", Document),
        sa.Column("next_poll_at", Instant),
        sa.Column("poll_interval_s", sa.Double),
        sa.Column("max_wait_until", Instant),
        sa.Column("poll_token", sa.Text),
        sa.Column("poll_until", Instant),
        sa.Column("metrics", Document),
        sa.Column("embedding_info", Document),
        sa.Column("progress", Document),
        sa.Column("total_cost", sa.Double, nullable=False),
        sa.Column("total_tokens", sa.BigInteger, nullable=False),
        sa.Column("error_code", sa.Text),
        sa.Column("error_message", sa.Text),
        _key("id", table="workflow_stage"),
        _of_run("workflow_stage"),
        sa.UniqueConstraint("workflow_run_id", "stage_id", name="workflow_stage_workflow_run_id_stage_id_key"),
    )


def _jobs() -> None:
    op.create_table(
        "job",
        sa.Column("id", BytewiseText, nullable=False),
        sa.Column("workflow_run_id", BytewiseText, nullable=False),
        sa.Column("stage_record_id", BytewiseText, nullable=False),
        sa.Column("stage_id", BytewiseText, nullable=False),
        sa.Column("pool", BytewiseText, nullable=False),
        sa.Column("status", BytewiseText, nullable=False),
        sa.Column("due_at", Instant, nullable=False),
        sa.Column("rank", Instant, nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("updated_at", Instant, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("max_attempts", sa.Integer, nullable=False),
        sa.Column("worker_id", sa.Text),
        sa.Column("lease_token", sa.Text),
        sa.Column("lease_until", Instant),
        sa.Column("last_error", sa.Text),
        sa.Column("trace_context", sa.Text),
        _key("id", table="job"),
        _of_run("job"),
    )


def _logs() -> None:
    op.create_table(
        "workflow_log",
        sa.Column("id", BytewiseText, nullable=False),
        sa.Column("workflow_run_id", BytewiseText, nullable=False),
        sa.Column("level", BytewiseText, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("stage_id", BytewiseText),
        sa.Column("stage_record_id", BytewiseText),
        sa.Column("metadata", Document),
        _key("id", table="workflow_log"),
        _of_run("workflow_log"),
    )


def _artifacts() -> None:
    op.create_table(
        "workflow_artifact",
        sa.Column("id", BytewiseText, nullable=False),
        sa.Column("workflow_run_id", BytewiseText, nullable=False),
        sa.Column("stage_record_id", BytewiseText, nullable=False),
        sa.Column("stage_id", BytewiseText, nullable=False),
        sa.Column("name", BytewiseText, nullable=False),
        sa.Column("blob_key", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("content_type", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        _key("id", table="workflow_artifact"),
        _of_run("workflow_artifact"),
    )


def _annotations() -> None:
    op.create_table(
        "workflow_annotation",
        sa.Column("position", sa.BigInteger().with_variant(sa.Integer, "sqlite"), sa.Identity(), nullable=False),
        sa.Column("id", BytewiseText, nullable=False),
        sa.Column("workflow_run_id", BytewiseText, nullable=False),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("scope_id", sa.Text, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("key", BytewiseText, nullable=False),
        sa.Column("value", Document),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("stage_record_id", BytewiseText),
        sa.Column("actor_kind", sa.Text),
        sa.Column("actor_id", sa.Text),
        sa.Column("actor_version", sa.Text),
        sa.Column("payload", Document),
        sa.Column("idempotency_key", BytewiseText),
        _key("position", table="workflow_annotation"),
        _of_run("workflow_annotation"),
        sa.ForeignKeyConstraint(
            ["stage_record_id"],
            ["workflow_stage.id"],
            name="workflow_annotation_stage_record_id_fkey",
            ondelete="SET NULL",
        ),
        sa.UniqueConstraint("id", name="workflow_annotation_id_key"),
        sa.UniqueConstraint(
            "workflow_run_id",
            "key",
            "idempotency_key",
            name="workflow_annotation_workflow_run_id_key_idempotency_key_key",
        ),
    )


def _outbox() -> None:
    op.create_table(
        "outbox_event",
        sa.Column("id", BytewiseText, nullable=False),
        sa.Column("workflow_run_id", BytewiseText, nullable=False),
        sa.Column("sequence", sa.Integer, nullable=False),
        sa.Column("event_type", BytewiseText, nullable=False),
        sa.Column("payload", Document, nullable=False),
        sa.Column("occurred_at", Instant, nullable=False),
        sa.Column("causation_id", sa.Text),
        sa.Column("claim_token", sa.Text),
        sa.Column("claimed_until", Instant),
        sa.Column("next_attempt_at", Instant),
        sa.Column("published_at", Instant),
        sa.Column("retry_count", sa.Integer, nullable=False),
        sa.Column("dlq_at", Instant),
        sa.Column("last_error", sa.Text),
        _key("id", table="outbox_event"),
        _of_run("outbox_event"),
        sa.UniqueConstraint("workflow_run_id", "sequence", name="outbox_event_workflow_run_id_sequence_key"),
    )


def _deliveries() -> None:
    op.create_table(
        "plugin_delivery",
        sa.Column("event_id", BytewiseText, nullable=False),
        sa.Column("name", BytewiseText, nullable=False),
        _key("event_id", "name", table="plugin_delivery"),
        sa.ForeignKeyConstraint(
            ["event_id"], ["outbox_event.id"], name="plugin_delivery_event_id_fkey", ondelete="CASCADE"
        ),
    )


def _keys() -> None:
    op.create_table(
        "idempotency_key",
        sa.Column("tenant", BytewiseText, nullable=False),
        sa.Column("command_type", BytewiseText, nullable=False),
        sa.Column("key", BytewiseText, nullable=False),
        sa.Column("request_hash", sa.Text, nullable=False),
        sa.Column("state", BytewiseText, nullable=False),
        sa.Column("acquired_at", Instant, nullable=False),
        sa.Column("result", Document),
        sa.Column("expires_at", Instant),
        _key("tenant", "command_type", "key", table="idempotency_key"),
    )


def _indexes_of_runs() -> None:
    _index("workflow_run_by_status", "workflow_run", ["status", "id"])
    _index("workflow_run_by_tenant", "workflow_run", ["tenant", "id"], where="tenant IS NOT NULL")
    _index("workflow_run_by_time", "workflow_run", ["created_at"])
    _index("workflow_run_by_workflow", "workflow_run", ["workflow_id", "id"])
    _index("workflow_run_ended", "workflow_run", ["completed_at", "id"], where="completed_at IS NOT NULL")
    _index("workflow_run_pending", "workflow_run", ["priority DESC", "created_at", "id"], where="status = 'PENDING'")
    _index("workflow_run_running", "workflow_run", ["updated_at", "id"], where="status = 'RUNNING'")


def _indexes_of_jobs() -> None:
    _index("workflow_stage_due", "workflow_stage", ["next_poll_at"], where="status = 'SUSPENDED'")
    _index("job_due", "job", ["pool", "rank", "id"], where="status = 'PENDING'")
    _index("job_leases", "job", ["lease_until"], where="status = 'RUNNING'")
    _index("job_of_run", "job", ["workflow_run_id"])
    _index("job_open", "job", ["created_at", "id"], where="status IN ('BLOCKED', 'PENDING', 'RUNNING', 'SUSPENDED')")


def _indexes_of_the_rest() -> None:
    _index("workflow_log_of_run", "workflow_log", ["workflow_run_id", "id"])
    _index("workflow_artifact_of_run", "workflow_artifact", ["workflow_run_id"])
    _index(
        "workflow_annotation_of_stage", "workflow_annotation", ["stage_record_id"], where="stage_record_id IS NOT NULL"
    )
    _index(
        "outbox_event_dead", "outbox_event", ["occurred_at", "workflow_run_id", "sequence"], where="dlq_at IS NOT NULL"
    )
    _index(
        "outbox_event_oldest", "outbox_event", ["occurred_at", "id"], where="published_at IS NULL AND dlq_at IS NULL"
    )
    _index(
        "outbox_event_open",
        "outbox_event",
        ["workflow_run_id", "sequence"],
        where="published_at IS NULL AND dlq_at IS NULL",
    )
    _index("idempotency_key_by_age", "idempotency_key", ["acquired_at"])
