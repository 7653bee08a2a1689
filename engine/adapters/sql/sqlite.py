"""The transactions of stages on SQLite: one at a time, decided in Python under the write lock.

They use the module sqlite3 and statements built from column names, because SQLAlchemy is slow. sqlite3 caches the
prepared statements."""

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine

from engine.adapters.row_store import WriteRefused, claim_over_rows, decide_over_rows, write_changes
from engine.adapters.sql.column_types import Document, EnumText, Instant
from engine.adapters.sql.rows import EVENT, JOB, MAPPINGS, RecordMapping
from engine.adapters.sql.session import Session
from engine.adapters.sql.transaction import SqlTx
from engine.domain.errors import InvalidInput, StoreError
from engine.domain.lifecycle import JobStatus
from engine.domain.records import JobRecord, OutboxRecord
from engine.domain.values import checked, json_text
from engine.ports.changes import (
    PASSED,
    AtLeast,
    Changes,
    Check,
    Condition,
    Delete,
    FromNow,
    Insert,
    Refused,
    Update,
    Written,
)
from engine.ports.clock import Clock
from engine.ports.persistence import Claim, ClaimRequest, Decision, NoClaim

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

type Mapped = RecordMapping[Any]


class SqliteTransactions:
    """`lock` is the lock of the process's writers. `is_real_time`: the clock is the machine's clock."""

    def __init__(
        self, engine: Engine, clock: Clock, lock: AbstractContextManager[object], *, is_real_time: bool
    ) -> None:
        self._engine, self._clock, self._lock, self._is_real_time = engine, clock, lock, is_real_time

    def write(self, changes: Changes) -> Written | Refused:
        try:
            return self._transact(lambda rows: write_changes(rows, changes))
        except WriteRefused:
            return Refused()

    def claim(self, request: ClaimRequest, *, is_repeated: bool) -> Claim | NoClaim:  # noqa: ARG002 - no answer is lost
        def work(rows: SqliteRows) -> Claim | NoClaim:
            # The time after the wait for the lock: otherwise a stage could start before the end of the previous one.
            at = max(request.at, rows.now) if self._is_real_time else request.at
            return claim_over_rows(rows, replace(request, at=at))

        return self._transact(work)

    def decide(
        self,
        run_id: str,
        decision: Decision,
        job_id: str | None,
        *,
        whole: bool,  # noqa: ARG002 — a file has no round trips to save
    ) -> Written | Refused:
        """`tx` reads through SQLAlchemy, on the same connection."""
        try:
            with self._lock, self._engine.connect() as connection:
                driver = connection.connection.driver_connection
                with _transaction(driver):
                    rows = SqliteRows(driver, self._clock.now())
                    tx = SqlTx(Session(connection, clock=self._clock, writable=False))
                    return decide_over_rows(rows, tx, run_id, decision, job_id)
        except WriteRefused:
            return Refused()

    def _transact[T](self, work: "Callable[[SqliteRows], T]") -> T:
        with self._lock:
            connection = self._engine.raw_connection()
            try:
                with _transaction(connection.driver_connection):
                    return work(SqliteRows(connection.driver_connection, self._clock.now()))
            finally:
                connection.close()


@contextmanager
def _transaction(driver: Any) -> Iterator[None]:
    """A transaction with the write lock of the database."""
    driver.execute("BEGIN IMMEDIATE")
    try:
        yield
        driver.execute("COMMIT")
    finally:
        if driver.in_transaction:
            driver.execute("ROLLBACK")


class SqliteRows:
    """`Rows` on a connection with an open transaction."""

    def __init__(self, connection: Any, now: datetime) -> None:
        self._cursor = connection.cursor()
        self.now = now

    def insert(self, insert: Insert) -> int:
        mapping = MAPPINGS[type(insert.rows[0])]
        times = {name: self.now + timedelta(seconds=seconds) for name, seconds in insert.from_now.items()}
        rows = [_to_row(mapping, {**_columns(mapping, row), **times}) for row in insert.rows]
        return self._write_many(_insert(mapping, mapping.names), rows)

    def update(self, update: Update, at: datetime) -> int:
        mapping = MAPPINGS[update.record]
        patch: Mapping[str, Any] = update.set
        values = _to_row(mapping, {name: self._time(value) for name, value in patch.items()} | {"updated_at": at})
        latest = _to_row(mapping, update.latest)
        condition, wanted = _condition(update.expect, self.now)
        statement = _update(mapping.table.name, tuple(values), tuple(update.add), tuple(latest), condition)
        parameters = [*values.values(), *update.add.values(), *latest.values()]
        return sum(self._write(statement, [*parameters, row_id, *wanted]) for row_id in update.ids)

    def delete(self, delete: Delete) -> int:
        table = MAPPINGS[delete.record].table.name
        return sum(self._write(f"DELETE FROM {table} WHERE id = ?", [row_id]) for row_id in delete.ids)

    def check(self, check: Check) -> int:
        mapping = MAPPINGS[check.record]
        condition, wanted = _condition(check.expect, self.now)
        found = self._cursor.execute(f"SELECT 1 FROM {mapping.table.name} WHERE id = ?{condition}", [check.id, *wanted])
        return len(found.fetchall())

    def last_event(self, run_id: str) -> tuple[int, datetime]:
        found = self._cursor.execute("SELECT event_seq, last_event_at FROM workflow_run WHERE id = ?", [run_id])
        sequence, stamp = found.fetchone()
        return sequence, datetime.fromisoformat(stamp)

    def append_events(self, records: list[OutboxRecord]) -> None:
        rows = [_to_row(EVENT, _columns(EVENT, record)) for record in records]
        self._write_many(_insert(EVENT, EVENT.names), rows)

    def select[R: "DataclassInstance"](self, record: type[R], where: Mapping[str, Any]) -> list[R]:
        mapping: RecordMapping[R] = MAPPINGS[record]
        statement = _select(mapping, tuple(where))
        return [_to_record(mapping, row) for row in self._cursor.execute(statement, list(where.values()))]

    def due_jobs(self, pools: Sequence[str], limit: int) -> list[JobRecord]:
        found: list[JobRecord] = []
        now = _instant_text(self.now)
        for pool in dict.fromkeys(pools):
            rows = self._cursor.execute(_due(), [pool, now, limit])
            found += [_to_record(JOB, row) for row in rows]
        return sorted(found, key=lambda job: (job.rank, job.id))[:limit]

    def _time(self, value: Any) -> Any:
        return self.now + timedelta(seconds=value.seconds) if isinstance(value, FromNow) else value

    def _write(self, statement: str, parameters: Sequence[Any]) -> int:
        try:
            touched: int = self._cursor.execute(statement, parameters).rowcount
        except sqlite3.IntegrityError as error:
            raise StoreError(f"the database refused a row: {error}") from error
        return touched

    def _write_many(self, statement: str, rows: list[dict[str, Any]]) -> int:
        return sum(self._write(statement, list(row.values())) for row in rows)


def _columns(mapping: Mapped, row: object) -> dict[str, Any]:
    return {name: getattr(row, name) for name in mapping.names}


@lru_cache
def _insert(mapping: Mapped, names: tuple[str, ...]) -> str:
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
def _select(mapping: Mapped, where: tuple[str, ...]) -> str:
    conditions = " AND ".join(f"{name} = ?" for name in where)
    return f"SELECT {', '.join(mapping.names)} FROM {mapping.table.name} WHERE {conditions}"


@lru_cache
def _due() -> str:
    columns = ", ".join(JOB.names)
    return (
        f"SELECT {columns} FROM job WHERE status = '{JobStatus.PENDING}' AND pool = ? AND due_at <= ? "
        "ORDER BY rank, id LIMIT ?"
    )


def _condition(expect: Condition, now: datetime) -> tuple[str, list[Any]]:
    """The condition as text after `WHERE id = ?`, with its parameters."""
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
                parameters += sorted(wanted)
            case _ if wanted is PASSED:
                text += f" AND {name} <= ?"
                parameters.append(_instant_text(now))
            case _:
                text += f" AND {name} = ?"
                parameters.append(wanted)
    return text, parameters


def _to_row(mapping: Mapped, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Column values of SQLite. Raises `InvalidInput` for values that PostgreSQL cannot store."""
    writers = _writers(mapping)
    unknown = fields.keys() - writers.keys()
    if unknown:
        raise InvalidInput(f"a {mapping.name} has no columns {sorted(unknown)}")
    return {
        name: None if value is None else writers[name](value, f"{mapping.name}.{name}")
        for name, value in fields.items()
    }


def _to_record[R: "DataclassInstance"](mapping: RecordMapping[R], row: Sequence[Any]) -> R:
    """The record of a row with the columns of the mapping's `names`."""
    named = zip(mapping.names, _readers(mapping), row, strict=True)
    return mapping.record_type(**{name: value if value is None else read(value) for name, read, value in named})


@lru_cache
def _writers(mapping: Mapped) -> Mapping[str, Callable[[Any, str], Any]]:
    writers = {Document: _document_text, Instant: _instant_text}
    return {each.name: writers.get(type(each.type), _plain) for each in mapping.columns}


@lru_cache
def _readers(mapping: Mapped) -> Sequence[Callable[[Any], Any]]:
    return [_reader(each.type) for each in mapping.columns]


def _reader(column_type: object) -> Callable[[Any], Any]:
    match column_type:
        case Document():
            return json.loads
        case Instant():
            return datetime.fromisoformat
        case EnumText(members=members):
            return members
        case _:
            return lambda value: value


def _document_text(value: Any, what: str) -> str:
    return json_text(checked(value, what, is_document=True))


def _instant_text(value: datetime, what: str = "a time") -> str:
    if value.tzinfo is None:
        raise InvalidInput(f"{what} is {value!r} without a time zone; use an aware datetime")
    return value.astimezone(UTC).isoformat(timespec="microseconds")


def _plain(value: Any, what: str) -> Any:
    return checked(value, what)
