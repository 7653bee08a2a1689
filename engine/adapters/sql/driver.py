"""PostgreSQL's driver without SQLAlchemy, for the few statements that each stage executes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, PoolProxiedConnection
from sqlalchemy.exc import DBAPIError

from engine.adapters.sql.failures import lost_connection, sqlstate


@contextmanager
def driver_connection(engine: Engine) -> Iterator[PoolProxiedConnection]:
    with driver_errors(engine, lambda: None):
        connection = engine.raw_connection()
    try:
        with driver_errors(engine, connection.invalidate):
            yield connection
    finally:
        connection.close()


@contextmanager
def driver_errors(engine: Engine, discard: Callable[[], None]) -> Iterator[None]:
    """Translates the driver's errors into SQLAlchemy's. Discards the connection unless the server reported the error.

    After any other error a part of a statement may have been sent, and the next user of the connection would read its
    answer.
    """
    try:
        yield
    except BaseException as error:  # Ctrl-C too interrupts a statement
        wrapped = _as_dbapi_error(engine, error)
        reported_by_server = wrapped is not None and sqlstate(wrapped) is not None and not lost_connection(wrapped)
        if not reported_by_server:
            discard()
        if wrapped is None:
            raise
        raise wrapped from error


def _as_dbapi_error(engine: Engine, error: BaseException) -> DBAPIError | None:
    """None for an error that is not the driver's."""
    dbapi = engine.dialect.loaded_dbapi
    if isinstance(error, OSError):
        # pg8000 raises some errors of its socket unchanged.
        error = dbapi.OperationalError(str(error))
    if not isinstance(error, dbapi.Error):
        return None
    instance = DBAPIError.instance(None, None, error, dbapi.Error, hide_parameters=True, dialect=engine.dialect)
    return instance if isinstance(instance, DBAPIError) else None


def call(connection: Any, statements: str) -> str:
    """Sends statements without parameters in one round trip. Gives the single value of the query among them."""
    cursor = connection.cursor()
    try:
        cursor.execute(statements)
        while cursor.description is None and getattr(cursor, "nextset", lambda: None)():
            pass
        row = cursor.fetchone() if cursor.description is not None else None
        return str(row[0]) if row else ""
    finally:
        cursor.close()
