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

from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.engine.interfaces import ExceptionContext
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from engine.adapters.sql.column_types import to_json
from engine.adapters.sql.database_url import PG8000, SQLITE
from engine.adapters.sql.failures import CHANNEL_BINDING, lost_connection
from engine.adapters.sql.store_time import engine_after
from engine.domain.errors import SettingsError

type PasswordProvider = Callable[[], str]
"""Returns the password. It is called for each new connection."""

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_SYSTEM = "system"
"""libpq's name for the authorities that this machine trusts."""
_BUSY_TIMEOUT_MS = 10_000


def open_engine(
    url: URL, *, pool_size: int, connect_timeout: float | None, password: PasswordProvider | None = None
) -> Engine:
    """Does not connect. The URL's own `connect_timeout` wins. On pg8000 this one also bounds the wait for each answer.

    Raises `SettingsError` for options of the URL that do not fit together.
    """
    if url.get_backend_name() == "sqlite":
        return _open_sqlite(url, pool_size)
    engine = create_engine(
        url.set(query={}),
        isolation_level="AUTOCOMMIT",
        json_serializer=to_json,
        pool_size=pool_size,
        max_overflow=0,
        pool_reset_on_return=None,
        connect_args=dict(_postgresql_arguments(url, connect_timeout)),
    )
    event.listen(engine, "handle_error", _mark_lost_connection)
    if url.drivername == PG8000:
        dbapi = engine.dialect.loaded_dbapi
        close = partial(_close, (dbapi.Error, OSError, ValueError))
        connect = partial(_connect_pg8000, dbapi, url, connect_timeout)
        engine.dialect.do_close = close  # type: ignore[method-assign]  # only for pg8000
        engine.dialect.connect = connect  # type: ignore[method-assign]  # only for pg8000
    if password is not None:
        event.listen(engine, "do_connect", lambda *args: args[-1].update(password=password()))
    return engine


def _open_sqlite(url: URL, pool_size: int) -> Engine:
    in_memory = url.database in {None, "", ":memory:"}
    if not in_memory:
        path = Path(str(url.database))
        _create_private(path)
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


def _create_private(path: Path) -> None:
    """Creates the missing file, readable only by its owner. SQLite gives its log and its index the same mode."""
    with suppress(OSError):  # SQLite reports it
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _is_read_only(path: Path) -> bool:
    """Whether the database is in a read-only folder. SQLite must then not create its write-ahead log."""
    return path.exists() and not os.access(path.parent, os.W_OK) and not Path(f"{path}-wal").exists()


def _immutable_url(path: Path) -> URL:
    query = {"mode": "ro", "immutable": "1", "uri": "true"}
    return URL.create(SQLITE, database=f"file:{quote(str(path.absolute()))}", query=query)


def _prepare_sqlite(connection: Any, _entry: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()
    connection.create_function("engine_after", 2, engine_after, deterministic=True)


def _postgresql_arguments(url: URL, connect_timeout: float | None) -> Mapping[str, Any]:
    given = {name: str(value) for name, value in url.query.items()}
    if seconds := given.pop("connect_timeout", None):
        connect_timeout = float(seconds) if int(seconds) > 0 else None
    roots = given.pop("sslrootcert", None)
    mode = given.pop("sslmode", _default_tls(str(url.host), roots))
    if _is_socket(url):
        mode = "disable"
    tls = _tls(mode, roots)
    if tls is False and given.get("channel_binding") == "require":
        raise SettingsError(
            "DATABASE_URL has channel_binding=require without TLS; use sslmode=require, or leave it out"
        )
    if url.drivername == PG8000:
        return _pg8000_arguments(url, given) | {"ssl_context": tls, "timeout": connect_timeout}
    if mode == "verify-full" and roots in {None, _SYSTEM}:
        roots = ssl.get_default_verify_paths().cafile or _SYSTEM
    limit = {} if connect_timeout is None else {"connect_timeout": max(1, round(connect_timeout))}
    # Prepared statements fail behind poolers that use another server connection for each transaction.
    return given | limit | {"prepare_threshold": None, "sslmode": mode} | ({"sslrootcert": roots} if roots else {})


def _pg8000_arguments(url: URL, given: Mapping[str, str]) -> dict[str, Any]:
    arguments: dict[str, Any] = {name: given[name] for name in ("application_name",) if name in given}
    if "options" in given:
        arguments["startup_params"] = {"options": given["options"]}
    if _is_socket(url):
        arguments["unix_sock"] = f"{url.host}/.s.PGSQL.{url.port or 5432}"
    if url.password is None:
        arguments["password"] = ""  # without one pg8000 raises AttributeError when the server asks for it
    return arguments


def _is_socket(url: URL) -> bool:
    return str(url.host).startswith("/")


def _default_tls(host: str, roots: str | None) -> str:
    if roots == _SYSTEM:
        return "verify-full"
    return "disable" if host in _LOOPBACK else "require"


@cache
def _tls(mode: str, roots: str | None) -> ssl.SSLContext | bool | None:
    """One context for all connections, because creating one takes tens of milliseconds.

    False: no TLS. None: TLS, unless the server refuses it.
    """
    if mode == "disable":
        return False
    if mode in {"allow", "prefer"}:
        return None
    if mode != "verify-full" and roots == _SYSTEM:
        raise SettingsError(f"DATABASE_URL has sslrootcert=system with sslmode={mode}; use sslmode=verify-full")
    if mode == "verify-ca" and roots is None:
        raise SettingsError("DATABASE_URL has sslmode=verify-ca without sslrootcert=FILE; add it, or use verify-full")
    try:
        context = ssl.create_default_context(cafile=None if roots == _SYSTEM else roots)
    except OSError as error:
        raise SettingsError(
            f"DATABASE_URL has sslrootcert={roots!r}, which is not a readable file of certificates; correct its path"
        ) from error
    context.check_hostname = mode == "verify-full"
    # As in libpq, `require` verifies the server if it is told its authority.
    context.verify_mode = ssl.CERT_NONE if mode == "require" and roots is None else ssl.CERT_REQUIRED
    return context


def _connect_pg8000(dbapi: Any, url: URL, answer_timeout: float | None, *arguments: Any, **options: Any) -> Any:
    try:
        connection = dbapi.connect(*arguments, **options)
    except OSError as error:
        raise dbapi.OperationalError(str(error)) from error
    # pg8000 keeps the time-out of connecting for each answer.
    connection._usock.settimeout(answer_timeout)  # noqa: SLF001 — pg8000 has no setting for it
    login = getattr(connection, "auth", None)  # pg8000 binds it to the TLS channel if the server offers that
    if url.query.get("channel_binding") == "require" and not (login and login.mechanism_name.endswith("-PLUS")):
        connection.close()
        raise dbapi.OperationalError(f"{CHANNEL_BINDING}, but the server logged in without it")
    return connection


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
