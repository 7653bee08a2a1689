"""Inserts of whole records, several rows in one statement."""

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Insert, insert
from sqlalchemy.dialects import postgresql, sqlite

from engine.adapters.sql.column_types import POSTGRESQL
from engine.adapters.sql.rows import RecordMapping
from engine.adapters.sql.session import Session

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def insert_rows[R: "DataclassInstance"](session: Session, mapping: RecordMapping[R], records: Iterable[R]) -> None:
    rows = [mapping.values(record) for record in records]
    if rows:
        session.write_rows(_insert(mapping), rows)


def insert_new_rows[R: "DataclassInstance"](
    session: Session, mapping: RecordMapping[R], records: Iterable[R], *, unique: tuple[str, ...]
) -> frozenset[str]:
    """Skips records whose values in the columns `unique` exist. Gives the ids of the others."""
    rows = [mapping.values(record) for record in records]
    if not rows:
        return frozenset()
    return frozenset(row.id for row in session.write_rows(_insert_new(mapping, session.dialect, unique), rows))


@lru_cache
def _insert(mapping: RecordMapping[Any]) -> Insert:
    # RETURNING makes SQLAlchemy send the rows together; without it some drivers send them one by one.
    return insert(mapping.table).returning(mapping.table.c.id)


@lru_cache
def _insert_new(mapping: RecordMapping[Any], dialect: str, unique: tuple[str, ...]) -> Insert:
    if dialect == POSTGRESQL:
        inserted = postgresql.insert(mapping.table).on_conflict_do_nothing(index_elements=unique)
        return inserted.returning(mapping.table.c.id)
    return sqlite.insert(mapping.table).on_conflict_do_nothing(index_elements=unique).returning(mapping.table.c.id)
