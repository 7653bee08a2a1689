"""The ledger of model calls: the calls, and the counters of budgets."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from engine.adapters.sql.column_types import BytewiseText, Document, Instant

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _calls()
    _spending()
    _index("ai_call_of_run", "ai_call", ["workflow_run_id", "id"])
    _index("ai_call_by_topic", "ai_call", ["topic"])
    _index("ai_call_of_batch", "ai_call", ["batch_id"], where="batch_id IS NOT NULL")
    _index("ai_call_by_request", "ai_call", ["workflow_run_id", "request_hash"], where="request_hash IS NOT NULL")
    _index("ai_spending_of_run", "ai_spending", ["workflow_run_id"], where="workflow_run_id IS NOT NULL")


def _index(name: str, table: str, columns: Sequence[str], where: str | None = None) -> None:
    condition = None if where is None else sa.text(where)
    op.create_index(name, table, columns, postgresql_where=condition, sqlite_where=condition)


def _of_run(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["workflow_run_id"], ["workflow_run.id"], name=f"{table}_workflow_run_id_fkey", ondelete="CASCADE"
    )


def _calls() -> None:
    op.create_table(
        "ai_call",
        sa.Column("id", BytewiseText, nullable=False),
        sa.Column("topic", BytewiseText, nullable=False),
        sa.Column("call_type", sa.Text, nullable=False),
        sa.Column("model_key", BytewiseText, nullable=False),
        sa.Column("state", BytewiseText, nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("updated_at", Instant, nullable=False),
        sa.Column("workflow_run_id", BytewiseText),
        sa.Column("stage_record_id", BytewiseText),
        sa.Column("stage_id", BytewiseText),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("scope", BytewiseText),
        sa.Column("model_id", sa.Text, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("prompt", Document),
        sa.Column("response", Document),
        sa.Column("input_tokens", sa.BigInteger, nullable=False),
        sa.Column("output_tokens", sa.BigInteger, nullable=False),
        sa.Column("cached_tokens", sa.BigInteger, nullable=False),
        sa.Column("reasoning_tokens", sa.BigInteger, nullable=False),
        sa.Column("cost", sa.Double),
        sa.Column("reserved_cost", sa.Double),
        sa.Column("reserved_tokens", sa.BigInteger, nullable=False),
        sa.Column("duration_ms", sa.BigInteger),
        sa.Column("batch_id", BytewiseText),
        sa.Column("request_hash", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("metadata", Document),
        sa.PrimaryKeyConstraint("id", name="ai_call_pkey"),
        _of_run("ai_call"),
    )


def _spending() -> None:
    op.create_table(
        "ai_spending",
        sa.Column("scope", BytewiseText, nullable=False),
        sa.Column("workflow_run_id", BytewiseText),
        sa.Column("stage_id", BytewiseText),
        sa.Column("spent_cost", sa.Double, nullable=False),
        sa.Column("spent_tokens", sa.BigInteger, nullable=False),
        sa.Column("reserved_cost", sa.Double, nullable=False),
        sa.Column("reserved_tokens", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("scope", name="ai_spending_pkey"),
        _of_run("ai_spending"),
    )
