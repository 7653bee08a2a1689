"""Inserts of whole records, several rows in one statement."""

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Insert, insert
from sqlalchemy.dialects import postgresql, sqlite

from engine.adapters.sql.column_types import POSTGRESQL
from engine.adapters.sql.rows import Kind
from engine.adapters.sql.session import Session

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def insert_rows[R: "DataclassInstance"](session: Session, kind: Kind[R], records: Iterable[R]) -> None:
    rows = [kind.values(record) for record in records]
    if rows:
        session.write_rows(_insert(kind), rows)


def insert_new_rows[R: "DataclassInstance"](
    session: Session, kind: Kind[R], records: Iterable[R], *, unique: tuple[str, ...]
) -> frozenset[str]:
    """Skips those whose values in the columns `unique` are taken. Gives the ids of the others."""
    rows = [kind.values(record) for record in records]
    if not rows:
        return frozenset()
    return frozenset(row.id for row in session.write_rows(_insert_new(kind, session.dialect, unique), rows))


@lru_cache
def _insert(kind: Kind[Any]) -> Insert:
    # RETURNING makes SQLAlchemy send the rows together; without it some drivers send them one by one.
    return insert(kind.table).returning(kind.table.c.id)


@lru_cache
def _insert_new(kind: Kind[Any], dialect: str, unique: tuple[str, ...]) -> Insert:
    if dialect == POSTGRESQL:
        inserted = postgresql.insert(kind.table).on_conflict_do_nothing(index_elements=unique)
        return inserted.returning(kind.table.c.id)
    return sqlite.insert(kind.table).on_conflict_do_nothing(index_elements=unique).returning(kind.table.c.id)
