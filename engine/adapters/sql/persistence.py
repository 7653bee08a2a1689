from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from threading import Lock, local

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from engine.adapters.sql.connections import PasswordProvider, open_engine, parse_url
from engine.adapters.sql.database_functions import apply_in_database, claim_in_database
from engine.adapters.sql.failures import lost_connection, place
from engine.adapters.sql.retries import Retries
from engine.adapters.sql.revision import check_revision, create_if_empty
from engine.adapters.sql.session import Session
from engine.adapters.sql.transaction import SqlTx
from engine.domain.errors import StoreError, StoreUnavailable
from engine.kernel.apply import apply_write_set
from engine.kernel.claim import claim_job
from engine.ports.clock import Clock
from engine.ports.persistence import Claim, ClaimRequest, NoClaim
from engine.ports.transaction import Tx
from engine.ports.write_set import Applied, WriteSet


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
        self._thread = local()
        self._checked = False

    def transact[T](self, work: Callable[[Tx], T]) -> T:
        with self._no_nested_transaction():
            return self._retries.run(lambda: self._transact_once(work))

    def read[T](self, work: Callable[[Tx], T]) -> T:
        with self._no_nested_transaction():
            return self._retries.run(lambda: self._read_once(work))

    def apply(self, write_set: WriteSet) -> Applied:
        if self._is_sqlite:
            return self.transact(lambda tx: apply_write_set(tx, write_set))
        with self._no_nested_transaction():
            return self._retries.run(lambda: self._call(apply_in_database, write_set))

    def claim(self, request: ClaimRequest) -> Claim | NoClaim:
        if self._is_sqlite:
            return self.transact(lambda tx: claim_job(tx, self._once_locked(request)))
        with self._no_nested_transaction():
            return self._retries.run(lambda: self._call(claim_in_database, request))

    def _once_locked(self, request: ClaimRequest) -> ClaimRequest:
        """With the time after the wait for SQLite's lock: else stages seem to start before what they follow."""
        clock = self._clock
        return replace(request, at=max(request.at, clock.now())) if isinstance(clock, _ProcessClock) else request

    def close(self) -> None:
        self._engine.dispose()

    def _call[A, R](self, function: Callable[[Connection, A, datetime | None], R], argument: A) -> R:
        with self._connect() as connection:
            return function(connection, argument, self._clock.now() if self._clock else None)

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
