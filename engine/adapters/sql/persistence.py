import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock, local

from sqlalchemy import URL, Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from engine.adapters.sql.connections import PasswordProvider, open_engine, parse_url
from engine.adapters.sql.failures import in_engine_words, lost_connection, place, unavailable, worth_repeating
from engine.adapters.sql.postgres_transactions import PostgresTransactions
from engine.adapters.sql.revision import check_revision, create_if_empty
from engine.adapters.sql.session import Session
from engine.adapters.sql.sqlite import SqliteTransactions
from engine.adapters.sql.transaction import SqlTx
from engine.domain.errors import StoreError, StoreUnavailable
from engine.ports.changes import Changes, Refused, Written
from engine.ports.clock import Clock
from engine.ports.persistence import Claim, ClaimRequest, Decision, NoClaim
from engine.ports.transaction import Tx

FIRST_PAUSE = 0.02
LONGEST_PAUSE = 2.0


@dataclass(frozen=True, slots=True)
class Retries:
    """`seconds` bounds the time after which nothing is begun again."""

    url: URL
    seconds: float

    def run[T](self, transaction: Callable[[], T]) -> T:
        deadline, pause = time.monotonic() + self.seconds, FIRST_PAUSE
        while True:
            try:
                return transaction()
            except (SQLAlchemyError, sqlite3.Error) as error:
                if not worth_repeating(error):
                    raise in_engine_words(self.url, error) from _cause(error)
                wait = pause * random.uniform(0.5, 1.5)
                if time.monotonic() + wait > deadline:
                    raise unavailable(self.url, error) from _cause(error)
            time.sleep(wait)
            pause = min(pause * 2, LONGEST_PAUSE)


def _cause(error: SQLAlchemyError | sqlite3.Error) -> BaseException | None:
    """The driver's error: SQLAlchemy's would show the statement, and with it what users stored."""
    cause: BaseException | None = getattr(error, "orig", None)
    return cause


class _ProcessClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


class SqlPersistence:
    """`Persistence` in PostgreSQL or SQLite, as the URL says.

    Nothing connects before the first use, which raises `StoreBehind` when migrations are missing. An absent
    SQLite database is created. `clock` replaces the database's own. `patience` is for how many seconds a
    transaction that could not be done is tried again. `password`, when given, is asked for each new connection's.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Clock | None = None,
        pool_size: int = 5,
        patience: float = 60.0,
        connect_timeout: float = 45.0,
        password: PasswordProvider | None = None,
    ) -> None:
        self._url = parse_url(url)
        self._is_sqlite = self._url.get_backend_name() == "sqlite"
        self._engine = open_engine(self._url, pool_size=pool_size, connect_timeout=connect_timeout, password=password)
        self._clock = clock or (_ProcessClock() if self._is_sqlite else None)
        self._retries = Retries(self._url, patience)
        # SQLite has one writer at a time: its threads queue here, where nobody is starved.
        self._writing: AbstractContextManager[object] = Lock() if self._is_sqlite else nullcontext()
        self._hot = self._open_hot_path(clock)
        self._thread = local()
        self._checked = False

    def _open_hot_path(self, clock: Clock | None) -> PostgresTransactions | SqliteTransactions:
        if not self._is_sqlite:
            return PostgresTransactions(self._engine, clock)
        now = clock or _ProcessClock()
        return SqliteTransactions(self._engine, now, self._writing, is_real_time=clock is None)

    def transact[T](self, work: Callable[[Tx], T]) -> T:
        with self._no_nested_transaction():
            return self._retries.run(lambda: self._transact_once(work))

    def read[T](self, work: Callable[[Tx], T]) -> T:
        with self._no_nested_transaction():
            return self._retries.run(lambda: self._read_once(work))

    def write(self, changes: Changes) -> Written | Refused:
        with self._no_nested_transaction():
            return self._retries.run(lambda: self._transactions().write(changes))

    def decide(
        self, run_id: str, decision: Decision, *, job_id: str | None = None, whole: bool = False
    ) -> Written | Refused:
        with self._no_nested_transaction():
            return self._retries.run(lambda: self._transactions().decide(run_id, decision, job_id, whole=whole))

    def claim(self, request: ClaimRequest) -> Claim | NoClaim:
        with self._no_nested_transaction():
            return self._retries.run(lambda: self._transactions().claim(request))

    def close(self) -> None:
        self._engine.dispose()

    def _transactions(self) -> PostgresTransactions | SqliteTransactions:
        """The hot path, on a database that is known to be at this code's revision."""
        self._check()
        return self._hot

    @contextmanager
    def _no_nested_transaction(self) -> Iterator[None]:
        """One transaction inside another would need a second connection, which a pool of one never gives."""
        if getattr(self._thread, "is_busy", False):
            raise StoreError("a transaction inside a transaction would need a second connection")
        self._thread.is_busy = True
        try:
            yield
        finally:
            self._thread.is_busy = False

    def _connect(self) -> Connection:
        self._check()
        return self._engine.connect()

    def _check(self) -> None:
        if self._checked:
            return
        if self._is_sqlite:
            create_if_empty(self._engine)
        with self._engine.connect() as connection:
            check_revision(connection)
        self._checked = True

    def _transact_once[T](self, work: Callable[[Tx], T]) -> T:
        with self._writing, self._connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE" if self._is_sqlite else "BEGIN")
            # Leaving without COMMIT rolls back.
            session = Session(connection, clock=self._clock, writable=True)
            result = work(SqlTx(session))
            if session.failure is not None:
                # PostgreSQL would answer COMMIT with a silent rollback.
                raise session.failure
            self._commit(connection)
            return result

    def _commit(self, connection: Connection) -> None:
        try:
            connection.exec_driver_sql("COMMIT")
        except DBAPIError as error:
            if not lost_connection(error):
                raise
            raise StoreUnavailable(
                f"{place(self._url)} went away during a commit; look whether it happened before repeating"
            ) from error

    def _read_once[T](self, work: Callable[[Tx], T]) -> T:
        with self._connect() as connection:
            if self._is_sqlite:
                # One snapshot for all of `work`.
                connection.exec_driver_sql("BEGIN DEFERRED")
            return work(SqlTx(Session(connection, clock=self._clock, writable=False)))
