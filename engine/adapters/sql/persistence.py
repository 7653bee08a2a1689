import itertools
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

from engine.adapters.sql.connections import PasswordProvider, open_engine
from engine.adapters.sql.database_url import parse_url
from engine.adapters.sql.failures import address, as_engine_error, is_transient, lost_connection, unavailable
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
    """Repeats transactions after transient errors. After `seconds` no repetition is started."""

    url: URL
    seconds: float

    def run[T](self, transaction: Callable[[], T]) -> T:
        deadline, pause = time.monotonic() + self.seconds, FIRST_PAUSE
        while True:
            try:
                return transaction()
            except (SQLAlchemyError, sqlite3.Error) as error:
                if not is_transient(error):
                    raise as_engine_error(self.url, error) from _cause(error)
                wait = pause * random.uniform(0.5, 1.5)
                if time.monotonic() + wait > deadline:
                    raise unavailable(self.url, error) from _cause(error)
            time.sleep(wait)
            pause = min(pause * 2, LONGEST_PAUSE)


def _cause(error: SQLAlchemyError | sqlite3.Error) -> BaseException | None:
    """The driver's error. SQLAlchemy's error contains the statement, and so the users' data."""
    cause: BaseException | None = getattr(error, "orig", None)
    return cause


class _ProcessClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


class SqlPersistence:
    """`Persistence` in PostgreSQL or SQLite, depending on the URL.

    The first use connects, and raises `StoreBehind` if migrations are missing. A missing SQLite database is created.
    `clock` replaces the clock of the database. `patience`: seconds in which a transaction is repeated after transient
    errors. `password` is called for each new connection.
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
        # SQLite has one writer at a time. The threads wait here, because its own lock is not fair.
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
        tries = itertools.count()
        with self._no_nested_transaction():
            return self._retries.run(lambda: self._transactions().claim(request, is_repeated=next(tries) > 0))

    def close(self) -> None:
        self._engine.dispose()

    def _transactions(self) -> PostgresTransactions | SqliteTransactions:
        """The transactions of stages, after the check of the database's revision."""
        self._check()
        return self._hot

    @contextmanager
    def _no_nested_transaction(self) -> Iterator[None]:
        """Refuses a nested transaction: it needs a second connection, for which a pool of one waits for ever."""
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
            # Without COMMIT the pool rolls back.
            session = Session(connection, clock=self._clock, writable=True)
            result = work(SqlTx(session))
            if session.failure is not None:
                # PostgreSQL answers such a COMMIT with a rollback, without an error.
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
                f"{address(self._url)} was lost during a commit; check whether it was committed before repeating it"
            ) from error

    def _read_once[T](self, work: Callable[[Tx], T]) -> T:
        with self._connect() as connection:
            if self._is_sqlite:
                # One snapshot for all of `work`.
                connection.exec_driver_sql("BEGIN DEFERRED")
            return work(SqlTx(Session(connection, clock=self._clock, writable=False)))
