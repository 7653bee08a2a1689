"""`Rows` in SQLite, with its own module's cursor: the statements of every stage's commit skip SQLAlchemy.

Statements are made of column names and kept; sqlite3 keeps what it prepared for them.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from engine.adapters.sql.rows import EVENT, JOB, MAPPINGS, RecordMapping
from engine.domain.errors import StoreError
from engine.domain.lifecycle import JobStatus
from engine.domain.records import JobRecord, OutboxRecord
from engine.ports.changes import PASSED, AtLeast, Check, Condition, Delete, FromNow, Insert, Update

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

type Sql = tuple[str, list[Any]]


class SqliteRows:
    """Over a connection on which a transaction was begun."""

    def __init__(self, connection: sqlite3.Connection, now: datetime) -> None:
        self._cursor = connection.cursor()
        self.now = now

    def insert(self, insert: Insert) -> int:
        mapping = MAPPINGS[type(insert.rows[0])]
        times = {name: self.now + timedelta(seconds=seconds) for name, seconds in insert.from_now.items()}
        rows = [mapping.to_sqlite({**_columns(mapping, row), **times}) for row in insert.rows]
        return self._write_many(_insert(mapping, mapping.names), rows)

    def update(self, update: Update, at: datetime) -> int:
        mapping = MAPPINGS[update.record]
        patch: Mapping[str, Any] = update.set
        values = mapping.to_sqlite(
            {name: self._time(value) for name, value in patch.items()} | {"updated_at": at}, columns=True
        )
        latest = mapping.to_sqlite(update.latest, columns=True)
        condition, wanted = _condition(update.expect, mapping, self.now)
        statement = _update(mapping.table.name, tuple(values), tuple(update.add), tuple(latest), condition)
        parameters = [*values.values(), *update.add.values(), *latest.values()]
        return sum(self._write(statement, [*parameters, row_id, *wanted]) for row_id in update.ids)

    def delete(self, delete: Delete) -> int:
        table = MAPPINGS[delete.record].table.name
        return sum(self._write(f"DELETE FROM {table} WHERE id = ?", [row_id]) for row_id in delete.ids)

    def check(self, check: Check) -> int:
        mapping = MAPPINGS[check.record]
        condition, wanted = _condition(check.expect, mapping, self.now)
        found = self._cursor.execute(f"SELECT 1 FROM {mapping.table.name} WHERE id = ?{condition}", [check.id, *wanted])
        return len(found.fetchall())

    def last_event(self, run_id: str) -> tuple[int, datetime]:
        found = self._cursor.execute("SELECT event_seq, last_event_at FROM workflow_run WHERE id = ?", [run_id])
        sequence, stamp = found.fetchone()
        return sequence, datetime.fromisoformat(stamp)

    def append_events(self, records: list[OutboxRecord]) -> None:
        rows = [EVENT.to_sqlite(_columns(EVENT, record)) for record in records]
        self._write_many(_insert(EVENT, EVENT.names), rows)

    def select[R: "DataclassInstance"](self, record: type[R], where: Mapping[str, Any]) -> list[R]:
        mapping: RecordMapping[R] = MAPPINGS[record]
        statement = _select(mapping, tuple(where))
        return [mapping.from_sqlite(row) for row in self._cursor.execute(statement, list(where.values()))]

    def due_jobs(self, pools: Sequence[str], limit: int) -> list[JobRecord]:
        found: list[JobRecord] = []
        (now,) = JOB.to_sqlite({"due_at": self.now}, columns=True).values()
        for pool in dict.fromkeys(pools):
            rows = self._cursor.execute(_due(), [pool, now, limit])
            found += [JOB.from_sqlite(row) for row in rows]
        return sorted(found, key=lambda job: (job.rank, job.id))[:limit]

    def _time(self, value: Any) -> Any:
        return self.now + timedelta(seconds=value.seconds) if isinstance(value, FromNow) else value

    def _write(self, statement: str, parameters: Sequence[Any]) -> int:
        try:
            return self._cursor.execute(statement, parameters).rowcount
        except sqlite3.IntegrityError as error:
            raise StoreError(f"the database refuses a row: {error}") from error

    def _write_many(self, statement: str, rows: list[dict[str, Any]]) -> int:
        return sum(self._write(statement, list(row.values())) for row in rows)


def _columns(mapping: RecordMapping[Any], row: object) -> dict[str, Any]:
    return {name: getattr(row, name) for name in mapping.names}


@lru_cache
def _insert(mapping: RecordMapping[Any], names: tuple[str, ...]) -> str:
    marks = ", ".join("?" * len(names))
    return f"INSERT INTO {mapping.table.name} ({', '.join(names)}) VALUES ({marks}) ON CONFLICT DO NOTHING"


@lru_cache(maxsize=512)
def _update(table: str, names: tuple[str, ...], add: tuple[str, ...], latest: tuple[str, ...], condition: str) -> str:
    changes = [
        *(f"{name} = ?" for name in names),
        *(f"{name} = {name} + ?" for name in add),
        *(f"{name} = max(coalesce({name}, ''), ?)" for name in latest),
    ]
    return f"UPDATE {table} SET {', '.join(changes)} WHERE id = ?{condition}"


@lru_cache
def _select(mapping: RecordMapping[Any], where: tuple[str, ...]) -> str:
    conditions = " AND ".join(f"{name} = ?" for name in where)
    return f"SELECT {', '.join(mapping.names)} FROM {mapping.table.name} WHERE {conditions}"


@lru_cache
def _due() -> str:
    columns = ", ".join(JOB.names)
    return (
        f"SELECT {columns} FROM job WHERE status = '{JobStatus.PENDING}' AND pool = ? AND due_at <= ? "
        "ORDER BY rank, id LIMIT ?"
    )


def _condition(expect: Condition, mapping: RecordMapping[Any], now: datetime) -> Sql:
    """As text after `WHERE id = ?`, with its parameters."""
    text, parameters = "", list[Any]()
    for name, wanted in expect.items():
        match wanted:
            case None:
                text += f" AND {name} IS NULL"
            case AtLeast(value):
                text += f" AND {name} >= ?"
                parameters.append(value)
            case frozenset():
                text += f" AND {name} IN ({', '.join('?' * len(wanted))})"
                parameters += [str(each) for each in sorted(wanted)]
            case _ if wanted is PASSED:
                text += f" AND {name} <= ?"
                parameters += mapping.to_sqlite({name: now}, columns=True).values()
            case _:
                text += f" AND {name} = ?"
                parameters += mapping.to_sqlite({name: wanted}, columns=True).values()
    return text, parameters
