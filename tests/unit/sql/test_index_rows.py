"""Every row of every index fits into a page of PostgreSQL's B-trees, with the longest texts that are accepted."""

import pytest
from sqlalchemy import Index, PrimaryKeyConstraint, UniqueConstraint
from sqlalchemy.sql.schema import ColumnCollectionConstraint

from engine.adapters.sql.column_types import BytewiseText, EnumText, Instant
from engine.adapters.sql.schema import METADATA
from engine.domain.limits import ID, INDEX_ROW_BYTES, KEY, TOPIC

OUR_OWN = 100
"""Characters of ids and words that the engine makes: UUIDs, types of commands and events."""
NESTED_SINKS = 6 * (ID + 1)
BATCH_MARK = TOPIC + len("batch:")
CHARACTERS = {
    "ai_call.batch_id": TOPIC,
    "ai_call.id": BATCH_MARK,
    "ai_call.request_hash": TOPIC,
    "ai_call.topic": TOPIC,
    "ai_spending.scope": TOPIC,
    "idempotency_key.command_type": OUR_OWN,
    "idempotency_key.key": KEY,
    "idempotency_key.tenant": ID,
    "job.pool": ID,
    "plugin_delivery.name": NESTED_SINKS,
    "workflow_annotation.idempotency_key": KEY,
    "workflow_annotation.key": KEY,
    "workflow_run.tenant": ID,
    "workflow_run.workflow_id": ID,
    "workflow_stage.stage_id": ID,
}
BYTES_OF_ID = 40
MADE_BY_US = {"id", "workflow_run_id", "stage_record_id", "event_id"}
OVERHEAD = 16

type Indexed = Index | ColumnCollectionConstraint

INDEXES: list[Indexed] = [
    *(index for table in METADATA.tables.values() for index in table.indexes),
    *(
        constraint
        for table in METADATA.tables.values()
        for constraint in table.constraints
        if isinstance(constraint, PrimaryKeyConstraint | UniqueConstraint)
    ),
]


def most_bytes(index: Indexed) -> int:
    total = OVERHEAD
    for column in index.columns:
        where = f"{column.table.name}.{column.name}"
        if where in CHARACTERS:
            total += 4 * CHARACTERS[where] + 4
        elif column.name in MADE_BY_US:
            total += BYTES_OF_ID + 4
        else:
            assert not isinstance(column.type, BytewiseText), f"{where} has no limit"
            assert isinstance(column.type, EnumText | Instant) or column.type.python_type is int, where
            total += 24
    return total


@pytest.mark.parametrize("index", INDEXES, ids=lambda index: str(index.name or index.columns.keys()))
def test_the_longest_texts_fit_into_an_index_together(index: Indexed) -> None:
    assert most_bytes(index) <= INDEX_ROW_BYTES
