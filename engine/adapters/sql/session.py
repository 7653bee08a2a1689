"""Statements on one connection, for one transaction or one read."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, CursorResult, Executable
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.dml import UpdateBase

from engine.adapters.sql.rows import AnyRow
from engine.adapters.sql.store_time import READ_NOW
from engine.domain.errors import InvalidInput, StoreError
from engine.domain.shortened import shortened
from engine.ports.clock import Clock

type Parameters = Mapping[str, Any]
type Result = CursorResult[*tuple[Any, ...]]


class Session:
    """Runs statements. `clock` is None where the server's clock is used."""

    def __init__(self, connection: Connection, *, clock: Clock | None, writable: bool) -> None:
        self._connection = connection
        self._clock = clock
        self._writable = writable
        self.dialect = connection.dialect.name
        self.failure: DBAPIError | None = None

    def all(self, statement: Executable, parameters: Parameters | None = None) -> Sequence[AnyRow]:
        return self._execute(statement, parameters).all()

    def first(self, statement: Executable, parameters: Parameters | None = None) -> AnyRow | None:
        return self._execute(statement, parameters).first()

    def lock(self, statement: Executable, parameters: Parameters) -> Sequence[AnyRow]:
        """Reads rows FOR UPDATE."""
        self._refuse_writing()
        return self._execute(statement, parameters).all()

    def write(self, statement: UpdateBase, parameters: Parameters | Sequence[Parameters]) -> int:
        """Gives the number of changed rows."""
        self._refuse_writing()
        return self._execute(statement, parameters).rowcount

    def write_rows(self, statement: UpdateBase, parameters: Parameters | Sequence[Parameters]) -> Sequence[AnyRow]:
        """Gives the rows that the statement returns."""
        self._refuse_writing()
        return self._execute(statement, parameters).all()

    def call(self, statement: Executable, parameters: Parameters | None = None) -> Any:
        return self._execute(statement, parameters).scalar()

    def now_or_none(self) -> datetime | None:
        """The value of `:now`. With None the server's clock is used."""
        return self._clock.now() if self._clock is not None else None

    def now(self) -> datetime:
        if self._clock is not None:
            return self._clock.now()
        now: datetime = self.call(READ_NOW, {"now": None})
        return now

    def _execute(self, statement: Executable, parameters: Parameters | Sequence[Parameters] | None) -> Result:
        try:
            return self._connection.execute(statement, parameters)
        except DBAPIError as error:
            self.failure = error
            raise
        except UnicodeEncodeError as error:
            raise InvalidInput(
                f"{shortened(error.object)} contains half a surrogate pair, as bytes that are not UTF-8 become; "
                "no record has such a text"
            ) from error

    def _refuse_writing(self) -> None:
        if not self._writable:
            raise StoreError("`read` changes nothing; use `transact`")
