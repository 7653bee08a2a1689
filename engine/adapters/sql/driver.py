"""The driver's own connection, for the few statements that every stage pays for."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, PoolProxiedConnection
from sqlalchemy.exc import DBAPIError

from engine.adapters.sql.failures import lost_connection, sqlstate


@contextmanager
def driver_connection(engine: Engine) -> Iterator[PoolProxiedConnection]:
    """A connection of the pool. The driver's errors leave as SQLAlchemy's.

    It goes back to the pool only after a success or an error that the server told: after any other nobody knows how
    much of a statement was sent, and the next user would get the answers to it."""
    connection = engine.raw_connection()
    try:
        yield connection
    except Exception as error:
        wrapped = as_dbapi_error(engine, error)
        if is_broken(wrapped if wrapped is not None else error):
            connection.invalidate()
        if wrapped is None:
            raise
        raise wrapped from error
    finally:
        connection.close()


def as_dbapi_error(engine: Engine, error: Exception) -> DBAPIError | None:
    """None for an error that is not the driver's."""
    dbapi = engine.dialect.loaded_dbapi
    if isinstance(error, OSError):
        # pg8000 lets some errors of its socket through.
        error = dbapi.OperationalError(str(error))
    if not isinstance(error, dbapi.Error) or isinstance(error, DBAPIError):
        return None
    instance = DBAPIError.instance(None, None, error, dbapi.Error, hide_parameters=True, dialect=engine.dialect)
    return instance if isinstance(instance, DBAPIError) else None


def is_broken(error: Exception) -> bool:
    return lost_connection(error) or sqlstate(error) is None


def call(connection: Any, statements: str) -> str:
    """Sends statements without parameters in one round trip. Gives the one value that the last query among them
    gives."""
    cursor = connection.cursor()
    try:
        cursor.execute(statements)
        while cursor.description is None and getattr(cursor, "nextset", lambda: None)():
            pass
        row = cursor.fetchone() if cursor.description is not None else None
        return str(row[0]) if row else ""
    finally:
        cursor.close()
