"""From a URL to a pool of connections that are always in autocommit mode.

Transactions are begun and ended by statements of our own: drivers then add no round trips of theirs, and a
statement that is a transaction by itself costs exactly one.
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
"""Asked for the password each time a connection is about to be opened."""

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_DRIVERS = ("postgresql+pg8000", "postgresql+psycopg", "sqlite+pysqlite")
_BUSY_TIMEOUT_MS = 10_000


def parse_url(text: str) -> URL:
    """Raises `SettingsError` for what is no URL of a database this adapter knows."""
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
    """Nothing connects yet. On pg8000 `connect_timeout` also bounds the wait for any one answer."""
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
        hang_up = partial(_hang_up, (engine.dialect.loaded_dbapi.Error, OSError, ValueError))
        engine.dialect.do_close = hang_up  # type: ignore[method-assign]  # all that differs for one driver
    if password is not None:
        event.listen(engine, "do_connect", lambda *args: args[-1].update(password=password()))
    return engine


def _open_sqlite(url: URL, pool_size: int) -> Engine:
    in_memory = url.database in {None, "", ":memory:"}
    if not in_memory:
        path = Path(str(url.database))
        path.parent.mkdir(parents=True, exist_ok=True)
        url = _as_it_stands(path) if _is_kept_copy(path) else url
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


def _is_kept_copy(path: Path) -> bool:
    """Whether nobody writes here: SQLite could not read it, as it would first put its log of changes beside it."""
    return path.exists() and not os.access(path.parent, os.W_OK) and not Path(f"{path}-wal").exists()


def _as_it_stands(path: Path) -> URL:
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
        # Prepared statements break behind poolers that hand each transaction another server connection.
        limit = {} if connect_timeout is None else {"connect_timeout": max(1, round(connect_timeout))}
        return url, {"prepare_threshold": None, **limit}
    mode = url.query.get("sslmode", "disable" if url.host in _LOOPBACK else "require")
    roots = url.query.get("sslrootcert")
    url = url.difference_update_query(["sslmode", "sslrootcert"])
    return url, {"ssl_context": _tls(str(mode), str(roots) if roots else None), "timeout": connect_timeout}


@cache
def _tls(mode: str, roots: str | None) -> ssl.SSLContext | bool:
    """One context for all connections: pg8000 would spend tens of milliseconds on one for each."""
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


def _hang_up(expected: tuple[type[Exception], ...], connection: Any) -> None:
    """Closing a dead connection makes pg8000 raise, and later complain about the goodbye it could not send."""
    stream = connection._sock  # noqa: SLF001 — pg8000 forgets it when closing fails
    with suppress(*expected):
        connection.close()
    with suppress(*expected):
        stream.close()


def _mark_lost_connection(context: ExceptionContext) -> None:
    """Makes SQLAlchemy drop the pool's connections also when it is the server that says they are over, and this one
    when a statement broke half-way: nobody knows how much was sent, and its next user would get the answers."""
    error = context.original_exception
    if isinstance(error, OSError):
        # pg8000 lets some errors of its socket through.
        context.is_disconnect = True
        raise OperationalError(context.statement, None, error, hide_parameters=True)
    is_the_drivers = isinstance(error, context.dialect.loaded_dbapi.Error)
    if not is_the_drivers and context.execution_context is not None:
        context.is_disconnect, context.invalidate_pool_on_disconnect = True, False
    elif lost_connection(context.sqlalchemy_exception or error):
        context.is_disconnect = True
