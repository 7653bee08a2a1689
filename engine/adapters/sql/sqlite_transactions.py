"""The transactions of every stage on SQLite: one at a time, decided in Python while nobody else writes."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

from sqlalchemy import Engine

from engine.adapters.row_store import WriteRefused, claim_over_rows, decide_over_rows, write_changes
from engine.adapters.sql.driver import driver_connection, driver_errors
from engine.adapters.sql.session import Session
from engine.adapters.sql.sqlite_rows import SqliteRows
from engine.adapters.sql.transaction import SqlTx
from engine.ports.changes import Changes, Refused, Written
from engine.ports.clock import Clock
from engine.ports.persistence import Claim, ClaimRequest, Decision, NoClaim


class SqliteTransactions:
    """`lock` is that of the process's writers. With `is_real_time` the clock is the machine's."""

    def __init__(
        self, engine: Engine, clock: Clock, lock: AbstractContextManager[object], *, is_real_time: bool
    ) -> None:
        self._engine, self._clock, self._lock, self._is_real_time = engine, clock, lock, is_real_time

    def write(self, changes: Changes) -> Written | Refused:
        try:
            return self._transact(lambda rows: write_changes(rows, changes))
        except WriteRefused:
            return Refused()

    def claim(self, request: ClaimRequest) -> Claim | NoClaim:
        def work(rows: SqliteRows) -> Claim | NoClaim:
            # With the time after the wait for the lock: else stages seem to start before what they follow.
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
        """Reads of `tx` go through SQLAlchemy on the same connection."""
        try:
            with self._lock, self._engine.connect() as connection:
                driver = connection.connection.driver_connection
                assert driver is not None
                with driver_errors(self._engine, connection.invalidate), _transaction(driver):
                    rows = SqliteRows(driver, self._clock.now())
                    tx = SqlTx(Session(connection, clock=self._clock, writable=False))
                    return decide_over_rows(rows, tx, run_id, decision, job_id)
        except WriteRefused:
            return Refused()

    def _transact[T](self, work: Callable[[SqliteRows], T]) -> T:
        with self._lock, driver_connection(self._engine) as connection:
            driver = connection.driver_connection
            assert driver is not None
            with _transaction(driver):
                return work(SqliteRows(driver, self._clock.now()))


@contextmanager
def _transaction(driver: Any) -> Iterator[None]:
    """Holds the database's one write lock."""
    driver.execute("BEGIN IMMEDIATE")
    try:
        yield
        driver.execute("COMMIT")
    finally:
        if driver.in_transaction:
            driver.execute("ROLLBACK")
