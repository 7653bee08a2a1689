"""The transactions of every stage on SQLite: one at a time, decided in Python while nobody else writes."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

from sqlalchemy import Engine

from engine.adapters.row_store import WriteRefused, claim_over_rows, decide_over_rows, write_changes
from engine.adapters.sql.driver import driver_connection
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

    def decide(self, run_id: str, decision: Decision, job_id: str | None) -> Written | Refused:
        """Reads of `tx` go through SQLAlchemy on the same connection."""
        with self._lock, self._engine.connect() as connection:
            driver = connection.connection.driver_connection
            assert driver is not None
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                rows = SqliteRows(driver, self._clock.now())
                tx = SqlTx(Session(connection, clock=self._clock, writable=False))
                decided = decide_over_rows(rows, tx, run_id, decision, job_id)
            except WriteRefused:
                connection.exec_driver_sql("ROLLBACK")
                return Refused()
            except BaseException:
                connection.exec_driver_sql("ROLLBACK")
                raise
            connection.exec_driver_sql("COMMIT")
            return decided

    def _transact[T](self, work: Callable[[SqliteRows], T]) -> T:
        with self._lock, driver_connection(self._engine) as connection:
            driver = connection.driver_connection
            assert driver is not None
            driver.execute("BEGIN IMMEDIATE")
            try:
                result = work(SqliteRows(driver, self._clock.now()))
            except BaseException:
                driver.execute("ROLLBACK")
                raise
            driver.execute("COMMIT")
            return result
