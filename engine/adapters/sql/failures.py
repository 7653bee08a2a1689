"""What database errors mean: try again, or give up and say so in the engine's words."""

import sqlite3
from typing import Any

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from engine.domain.errors import EngineError, StoreError, StoreUnavailable

LOCK_TIMEOUT = "55P03"
CONDITION_FAILED = "WE001"  # raised by our own function

# After these the connection is useless: shut down, crashed, starting, idle for too long (in a transaction too), or a
# replica since a failover.
_GONE = frozenset({"57P01", "57P02", "57P03", "57P05", "25P03", "25006"})
# Rolled back for the sake of others, or turned away for the moment (too many clients).
_ROLLED_BACK = frozenset({"40001", "40P01", "53300"})
_CONNECTION_CLASS = "08"
_REFUSES_TLS = "Server refuses SSL"
# What drivers say without a code when asking again is no use.
_FINAL = (_REFUSES_TLS, "authentication failed", "does not exist")


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
    # Without a code it is the driver that speaks: there is no connection, or there is none any more.
    return isinstance(error, (OperationalError, InterfaceError)) and not _is_final(error)


def _is_final(error: DBAPIError) -> bool:
    return any(phrase in str(error.orig) for phrase in _FINAL)


def worth_repeating(error: BaseException) -> bool:
    """Whether the whole transaction may succeed if it is run again."""
    original = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(original, sqlite3.OperationalError):
        return "locked" in str(original)
    return sqlstate(error) in _ROLLED_BACK or lost_connection(error)


def place(url: URL) -> str:
    """Where the store is, without user and password."""
    if url.get_backend_name() == "sqlite":
        return f"the database {url.database!r}"
    return f"the database {url.database!r} at {url.host}:{url.port or 5432}"


def unavailable(url: URL, error: BaseException) -> StoreUnavailable:
    return StoreUnavailable(f"{place(url)} cannot be used now: {message(error)}")


def in_engine_words(url: URL, error: SQLAlchemyError | sqlite3.Error) -> EngineError:
    """The error for a failure that repeating does not mend."""
    original = getattr(error, "orig", None)
    if isinstance(error, StatementError) and isinstance(original, EngineError):
        return original
    if isinstance(error, PoolTimeout):
        return StoreUnavailable(f"{place(url)}: all connections of the pool are in use")
    if _REFUSES_TLS in str(original):
        return StoreUnavailable(f"{place(url)} does not speak TLS; if that is intended add ?sslmode=disable")
    return StoreError(f"{place(url)} answered: {message(error)}")


def message(error: BaseException) -> str:
    """What the database said, without the statement."""
    original = getattr(error, "orig", None) or error
    if original.args and isinstance(original.args[0], dict):
        return str(original.args[0].get("M"))
    first = str(original).strip().partition("\n")[0]
    return first.partition(" (timeout is ")[0] or type(original).__name__  # what pg8000 adds says nothing to anybody
