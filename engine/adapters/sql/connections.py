"""Connection pools from URLs. All connections are in autocommit mode.

The adapter sends BEGIN and COMMIT itself. So drivers add no round trips, and a statement that is a whole transaction
costs one round trip.
"""

import os
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import ExceptionContext
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from engine.adapters.sql.column_types import to_json
from engine.adapters.sql.failures import lost_connection
from engine.adapters.sql.store_time import engine_after
from engine.domain.errors import SettingsError

type PasswordProvider = Callable[[], str]
"""Returns the password. It is called for each new connection."""

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_DRIVERS = ("postgresql+pg8000", "postgresql+psycopg", "sqlite+pysqlite")
_BUSY_TIMEOUT_MS = 10_000


def parse_url(text: str) -> URL:
    """Raises `SettingsError` for a text that is not the URL of a supported database."""
    try:
        url = make_url(text)
    except ArgumentError as error:
        raise SettingsError("the database URL cannot be read; write postgresql://… or sqlite:///…") from error
    defaults = {"postgresql": _DRIVERS[0], "sqlite": _DRIVERS[2]}
    url = url.set(drivername=defaults.get(url.drivername, url.drivername))
    if url.drivername not in _DRIVERS:
        raise SettingsError(f"no database driver {url.drivername!r}; use one of {', '.join(_DRIVERS)}")
    return url


def open_engine(
    url: URL, *, pool_size: int, connect_timeout: float | None, password: PasswordProvider | None = None
) -> Engine:
    """Does not connect. On pg8000 `connect_timeout` also bounds the wait for each answer."""
    if url.get_backend_name() == "sqlite":
        return _open_sqlite(url, pool_size)
    url, arguments = _postgresql_arguments(url, connect_timeout)
    engine = create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        json_serializer=to_json,
        pool_size=pool_size,
        max_overflow=0,
        pool_reset_on_return=None,
        connect_args=dict(arguments),
    )
    event.listen(engine, "handle_error", _mark_lost_connection)
    if url.get_driver_name() == "pg8000":
        close = partial(_close, (engine.dialect.loaded_dbapi.Error, OSError, ValueError))
        engine.dialect.do_close = close  # type: ignore[method-assign]  # only for pg8000
    if password is not None:
        event.listen(engine, "do_connect", lambda *args: args[-1].update(password=password()))
    return engine


def _open_sqlite(url: URL, pool_size: int) -> Engine:
    in_memory = url.database in {None, "", ":memory:"}
    if not in_memory:
        path = Path(str(url.database))
        path.parent.mkdir(parents=True, exist_ok=True)
        url = _immutable_url(path) if _is_read_only(path) else url
    engine = create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        poolclass=QueuePool,
        pool_size=1 if in_memory else pool_size,
        max_overflow=0,
        connect_args={"check_same_thread": False, "timeout": _BUSY_TIMEOUT_MS / 1000},
    )
    event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _is_read_only(path: Path) -> bool:
    """Whether the database is in a read-only folder. SQLite must then not create its write-ahead log."""
    return path.exists() and not os.access(path.parent, os.W_OK) and not Path(f"{path}-wal").exists()


def _immutable_url(path: Path) -> URL:
    query = {"mode": "ro", "immutable": "1", "uri": "true"}
    return URL.create(_DRIVERS[2], database=f"file:{quote(str(path.absolute()))}", query=query)


def _prepare_sqlite(connection: Any, _entry: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()
    connection.create_function("engine_after", 2, engine_after, deterministic=True)


def _postgresql_arguments(url: URL, connect_timeout: float | None) -> tuple[URL, Mapping[str, Any]]:
    if url.get_driver_name() == "psycopg":
        # Prepared statements fail behind poolers that use another server connection for each transaction.
        limit = {} if connect_timeout is None else {"connect_timeout": max(1, round(connect_timeout))}
        return url, {"prepare_threshold": None, **limit}
    mode = url.query.get("sslmode", "disable" if url.host in _LOOPBACK else "require")
    roots = url.query.get("sslrootcert")
    url = url.difference_update_query(["sslmode", "sslrootcert"])
    return url, {"ssl_context": _tls(str(mode), str(roots) if roots else None), "timeout": connect_timeout}


@cache
def _tls(mode: str, roots: str | None) -> ssl.SSLContext | bool:
    """One context for all connections, because creating one takes tens of milliseconds."""
    match mode:
        case "disable":
            return False
        case "require":
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            return context
        case "verify-full":
            return ssl.create_default_context(cafile=roots)
        case _:
            raise SettingsError(f"sslmode {mode!r} is not known; use disable, require or verify-full")


def _close(expected: tuple[type[Exception], ...], connection: Any) -> None:
    """Closes a connection that may be dead. pg8000 raises then, and warns later about its open socket."""
    stream = connection._sock  # noqa: SLF001 — pg8000 forgets it when closing fails
    with suppress(*expected):
        connection.close()
    with suppress(*expected):
        stream.close()


def _mark_lost_connection(context: ExceptionContext) -> None:
    """Makes SQLAlchemy discard all connections of the pool when the server ends them.

    It also discards this one when a statement was interrupted: its next user would read the rest of the answer.
    """
    error = context.original_exception
    if isinstance(error, OSError):
        # pg8000 raises some errors of its socket unchanged.
        context.is_disconnect = True
        raise OperationalError(context.statement, None, error, hide_parameters=True)
    is_the_drivers = isinstance(error, context.dialect.loaded_dbapi.Error)
    if not is_the_drivers and context.execution_context is not None:
        context.is_disconnect, context.invalidate_pool_on_disconnect = True, False
    elif lost_connection(context.sqlalchemy_exception or error):
        context.is_disconnect = True
