"""Classification of database errors: those to retry, and those to translate into the engine's errors."""

import sqlite3
from typing import Any

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from engine.domain.errors import EngineError, StoreError, StoreUnavailable

LOCK_TIMEOUT = "55P03"
CONDITION_FAILED = "WE001"  # raised by our own function

# Errors that end the connection: shutdown, crash, start-up, idle time-out (in a transaction too), or a server that is a
# replica after a failover.
_GONE = frozenset({"57P01", "57P02", "57P03", "57P05", "25P03", "25006"})
# Serialization failure, deadlock, and too many clients.
_ROLLED_BACK = frozenset({"40001", "40P01", "53300"})
_CONNECTION_CLASS = "08"
CHANNEL_BINDING = "channel binding is required"
_REFUSES_TLS = ("Server refuses SSL", "server does not support SSL")  # pg8000, psycopg
# Texts of permanent errors that drivers raise without a code.
_FINAL = (
    *_REFUSES_TLS,
    "authentication failed",
    "no password supplied",
    "does not exist",
    CHANNEL_BINDING,
    "channel binding required",
    "certificate verify failed",
    "does not match host name",
    "invalid command-line argument",
    "requires a value",
    "unrecognized configuration parameter",
    "unsupported startup parameter",
)


def sqlstate(error: object) -> str | None:
    """PostgreSQL's code for an error of SQLAlchemy, pg8000 or psycopg; None when the server sent none."""
    original: Any = error.orig if isinstance(error, DBAPIError) else error
    state = getattr(original, "sqlstate", None)
    if state is None and original is not None and original.args and isinstance(original.args[0], dict):
        state = original.args[0].get("C")
    return state


def lost_connection(error: BaseException) -> bool:
    state = sqlstate(error)
    if state is not None:
        return state in _GONE or state.startswith(_CONNECTION_CLASS)
    if isinstance(error, DBAPIError) and isinstance(error.orig, sqlite3.Error):
        return False
    # An error without a code comes from the driver: it has no connection.
    return isinstance(error, (OperationalError, InterfaceError)) and not _is_permanent(error)


def _is_permanent(error: DBAPIError) -> bool:
    return any(phrase in str(error.orig) for phrase in _FINAL)


def is_transient(error: BaseException) -> bool:
    """Whether the whole transaction may succeed if it is run again."""
    original = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(original, sqlite3.OperationalError):
        return "locked" in str(original)
    return sqlstate(error) in _ROLLED_BACK or lost_connection(error)


def address(url: URL) -> str:
    """The address of the store, without user and password."""
    if url.get_backend_name() == "sqlite":
        return f"the database {url.database!r}"
    return f"the database {url.database!r} at {url.host}:{url.port or 5432}"


def unavailable(url: URL, error: BaseException) -> StoreUnavailable:
    return StoreUnavailable(f"{address(url)} cannot be used now: {message(error)}")


def as_engine_error(url: URL, error: SQLAlchemyError | sqlite3.Error) -> EngineError:
    """The engine's error for a failure that a retry does not cure."""
    original = getattr(error, "orig", None)
    if isinstance(error, StatementError) and isinstance(original, EngineError):
        return original
    if isinstance(error, PoolTimeout):
        return StoreUnavailable(f"{address(url)}: all connections of the pool are in use")
    if any(phrase in str(original) for phrase in _REFUSES_TLS):
        return StoreUnavailable(f"{address(url)} does not speak TLS; if that is intended add ?sslmode=disable")
    return StoreError(f"{address(url)} answered: {message(error)}")


def message(error: BaseException) -> str:
    """The message of the database, without the statement."""
    original = getattr(error, "orig", None) or error
    if original.args and isinstance(original.args[0], dict):
        return str(original.args[0].get("M"))
    first = str(original).strip().partition("\n")[0]
    return first.partition(" (timeout is ")[0] or type(original).__name__  # pg8000 appends its timeout
