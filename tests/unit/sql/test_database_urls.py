"""URLs of databases as hosting services give them: honoured by both drivers in the same way, or refused in words."""

import socket
import ssl
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy.exc import OperationalError

from engine.adapters.sql.database_url import parse_url
from engine.adapters.sql.failures import is_transient
from engine.adapters.sql.migrate import migrate
from engine.adapters.sql.persistence import SqlPersistence
from engine.domain.errors import EngineError, SettingsError, StoreError, StoreUnavailable
from tests.support.postgres import PostgresServer
from tests.unit.sql.stores import DRIVERS, emptied
from tests.unit.sql.test_connections import connect_arguments

SECRET = "s3cret"
PLACE = f"u:{SECRET}@db.example/engine"


@pytest.mark.parametrize(
    ("text", "driver"),
    [
        ("postgresql://u@host/engine", "postgresql+pg8000"),
        ("postgres://u@host/engine", "postgresql+pg8000"),
        ("postgresql+psycopg://u@host/engine", "postgresql+psycopg"),
        ("sqlite:///engine.db", "sqlite+pysqlite"),
    ],
)
def test_a_url_picks_the_driver(text: str, driver: str) -> None:
    assert parse_url(text).drivername == driver


@pytest.mark.parametrize("around", [" {} ", "{}\n", '"{}"', "'{}'", '" {}"\n'])
def test_spaces_and_quotes_around_a_url_do_not_matter(around: str) -> None:
    assert parse_url(around.format("postgresql://u@host/engine")) == parse_url("postgresql://u@host/engine")


def test_a_password_is_decoded() -> None:
    assert parse_url("postgresql://o'neil:s3%40%23%2F%25@host/engine").password == "s3@#/%"


def test_a_folder_of_a_socket_is_the_host() -> None:
    for text in ("postgresql://u@/engine?host=/tmp", "postgresql://u@%2Ftmp/engine", "postgres://u@h/engine?host=/tmp"):
        assert parse_url(text).host == "/tmp", text
    assert connect_arguments("postgresql://u@/engine?host=/tmp&port=6000")["unix_sock"] == "/tmp/.s.PGSQL.6000"


REFUSED = {
    "another database": ("mysql://u:s3cret@h/e", "mysql://"),
    "another driver": ("postgresql+psycopg2://u:s3cret@h/e", "postgresql+psycopg2://"),
    "no URL": ("host=h password=s3cret", "cannot be read"),
    "a command": (f"psql 'postgresql://{PLACE}'", "cannot be read"),
    "nothing": ("", "cannot be read"),
    "a host of SQLite": ("sqlite://u:s3cret@h/e", "a host in front of the SQLite file"),
    "an option of SQLite": ("sqlite:///e.db?mode=ro", "the option 'mode'"),
    "an @ in the password": ("postgresql://u:a@s3cret@h/e", "@ as %40"),
    "an @ and a / in the password": ("postgresql://u:a@s3cret/b@h/e", "@ as %40"),
    "a # in the password": ("postgresql://u:a#s3cret@h/e", "# as %23"),
    "a / in the password": ("postgresql://u:a/s3cret@h/e", "/ as %2F"),
    "a ? in the password": ("postgresql://u:a?s3cret@h/e", "? as %3F"),
    "several hosts": ("postgresql://u:s3cret@a:1,b:2/e", "several hosts"),
    "several hosts as an option": ("postgresql://u:s3cret@/e?host=a,b", "several hosts"),
    "a port in words": ("postgresql://u:s3cret@h:port/e", "a port"),
    "a port too high": ("postgresql://u:s3cret@h:65536/e", "a port"),
    "a port in words as an option": ("postgresql://u:s3cret@h/e?port=x", "a port"),
    "no user": ("postgresql://h/e", "names no user"),
    "a password instead of a port": ("postgresql://u:s3cret", "a port"),
    "no host": ("postgresql://u:s3cret@/e", "names no host"),
    "no database": ("postgresql://u:s3cret@h", "names no database"),
    "no host name": ("postgresql://u:s3cret@a..b/e", "a host that is not the name of one"),
    "an unknown option": (f"postgresql://{PLACE}?sslcompresion=1", "'sslcompresion'"),
    "the password as an option": ("postgresql://u@h/e?password=s3cret", "'password'"),
    "an option twice": (f"postgresql://{PLACE}?sslmode=disable&sslmode=require", "'sslmode' twice"),
    "an unknown TLS mode": (f"postgresql://{PLACE}?sslmode=on", "sslmode='on'"),
    "a replica": (f"postgresql://{PLACE}?target_session_attrs=standby", "target_session_attrs='standby'"),
    "a time-out in words": (f"postgresql://{PLACE}?connect_timeout=soon", "connect_timeout='soon'"),
    "no authority to verify with": (f"postgresql://{PLACE}?sslmode=verify-ca", "without sslrootcert"),
    "an authority that is missing": (f"postgresql://{PLACE}?sslrootcert=/nope.pem", "sslrootcert='/nope.pem'"),
    "the system's authorities": (f"postgresql://{PLACE}?sslrootcert=system&sslmode=require", "sslmode=verify-full"),
    "channel binding without TLS": (f"postgresql://{PLACE}?sslmode=disable&channel_binding=require", "without TLS"),
}


@pytest.mark.parametrize(("text", "expected"), REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.parametrize("driver", DRIVERS)
def test_a_url_that_cannot_be_used_is_refused_without_its_password(text: str, expected: str, driver: str) -> None:
    with pytest.raises(SettingsError) as error:
        SqlPersistence(text.replace("postgresql://", f"postgresql+{driver}://"))
    assert str(error.value).startswith("DATABASE_URL ")
    assert expected in str(error.value)
    assert "\n" not in str(error.value)
    assert SECRET not in "".join(traceback.format_exception(error.value))


@pytest.mark.parametrize(
    "option",
    [
        *("pgbouncer=true", "connection_limit=1", "pool_timeout=9", "supa=base-pooler.x", "keepalives_idle=30"),
        *("target_session_attrs=read-write", "target_session_attrs=any", "client_encoding=utf8", "gssencmode=disable"),
    ],
)
@pytest.mark.parametrize("driver", DRIVERS)
def test_an_option_that_changes_nothing_reaches_no_driver(driver: str, option: str) -> None:
    plain = f"postgresql+{driver}://{PLACE}"
    with_option, without = connect_arguments(f"{plain}?{option}"), connect_arguments(plain)
    with_option["context"] = without["context"] = None  # psycopg's types, an object of each engine
    assert with_option == without


@pytest.mark.parametrize("driver", DRIVERS)
def test_the_connect_timeout_of_the_url_wins(driver: str) -> None:
    name = {"pg8000": "timeout", "psycopg": "connect_timeout"}[driver]
    assert connect_arguments(f"postgresql+{driver}://{PLACE}?connect_timeout=7")[name] == 7
    assert connect_arguments(f"postgresql+{driver}://{PLACE}?connect_timeout=0").get(name) is None


def test_both_drivers_have_the_same_tls() -> None:
    roots = str(ssl.get_default_verify_paths().cafile)
    for query, mode, verify, names in (
        ("", "require", ssl.CERT_NONE, False),
        ("?ssl=true", "require", ssl.CERT_NONE, False),
        (f"?sslrootcert={roots}", "require", ssl.CERT_REQUIRED, False),
        (f"?sslmode=verify-ca&sslrootcert={roots}", "verify-ca", ssl.CERT_REQUIRED, False),
        ("?sslmode=verify-full", "verify-full", ssl.CERT_REQUIRED, True),
        ("?sslrootcert=system", "verify-full", ssl.CERT_REQUIRED, True),
    ):
        context = connect_arguments(f"postgresql://{PLACE}{query}")["ssl_context"]
        assert (context.verify_mode, context.check_hostname) == (verify, names), query
        arguments = connect_arguments(f"postgresql+psycopg://{PLACE}{query}")
        assert (arguments["sslmode"], arguments.get("sslrootcert")) == (mode, roots if verify else None), query
    assert connect_arguments(f"postgresql://{PLACE}?sslmode=prefer")["ssl_context"] is None
    assert connect_arguments(f"postgresql+psycopg://{PLACE}?sslmode=prefer")["sslmode"] == "prefer"
    assert connect_arguments("postgresql+psycopg://u@127.0.0.1/engine")["sslmode"] == "disable"


def test_pg8000_has_an_empty_password_instead_of_none() -> None:
    assert connect_arguments("postgresql://u@db.example/engine")["password"] == ""
    assert connect_arguments(f"postgresql://{PLACE}")["password"] == "s3cret"


@pytest.fixture(scope="module")
def server_with_socket() -> Iterator[tuple[PostgresServer, str]]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)  # the server is another user
        with PostgresServer(settings={"unix_socket_directories": folder}) as server:
            yield server, folder


@pytest.mark.postgres
@pytest.mark.parametrize("driver", DRIVERS)
def test_a_socket_connects(server_with_socket: tuple[PostgresServer, str], driver: str) -> None:
    server, folder = server_with_socket
    server.create_database(f"by_{driver}")
    assert migrate(f"postgresql+{driver}://postgres@/by_{driver}?host={folder}&port={server.port}")


def settings_of_session(url: str, *names: str) -> dict[str, Any]:
    with closing(SqlPersistence(url)) as persistence, persistence._engine.connect() as connection:
        return {name: connection.exec_driver_sql(f"SHOW {name}").scalar() for name in names}


@pytest.mark.postgres
@pytest.mark.parametrize("driver", DRIVERS)
def test_settings_of_the_url_reach_the_session(postgres_server: PostgresServer, driver: str) -> None:
    url = f"{emptied(postgres_server, driver)}?application_name=worker&schema={quote('My "own" S')}"
    found = settings_of_session(
        f"{url}&options={quote('-c statement_timeout=7s')}", "application_name", "search_path", "statement_timeout"
    )
    assert found == {"application_name": "worker", "search_path": '"My ""own"" S"', "statement_timeout": "7s"}


@pytest.mark.postgres
@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("option", ["options=bogus", "options=-c%20no.such%3Bthing", "options=-c%20no_such%3D1"])
def test_settings_that_the_server_refuses_are_reported_at_once(
    postgres_server: PostgresServer, driver: str, option: str
) -> None:
    persistence = SqlPersistence(f"{emptied(postgres_server, driver)}?{option}", patience=30)
    with pytest.raises(StoreError, match="answered: "):
        persistence.read(lambda tx: tx.now())


@pytest.mark.postgres
def test_a_short_time_to_connect_does_not_shorten_an_answer(postgres_server: PostgresServer) -> None:
    url = f"{emptied(postgres_server)}?connect_timeout=1"
    with closing(SqlPersistence(url)) as persistence, persistence._engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT 1 FROM pg_sleep(1.2)").scalar() == 1


@pytest.mark.postgres
def test_channel_binding_that_the_server_did_not_do_is_reported(postgres_server: PostgresServer) -> None:
    persistence = SqlPersistence(f"{emptied(postgres_server)}?sslmode=prefer&channel_binding=require")
    with pytest.raises(StoreError, match="answered: channel binding is required"):
        persistence.read(lambda tx: tx.now())


@pytest.mark.parametrize(
    "text",
    [
        "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: Hostname mismatch (_ssl.c:1020)",
        'connection failed: server certificate for "a" does not match host name "b"',
        "connection failed: server does not support SSL, but SSL was required",
        "connection failed: channel binding required, but server authenticated client without channel binding",
        "connection failed: fe_sendauth: no password supplied",
        "connection failed: FATAL:  unsupported startup parameter in options: search_path",
    ],
)
def test_what_no_repetition_cures_is_reported_at_once(text: str) -> None:
    assert not is_transient(OperationalError(None, None, Exception(text)))


@pytest.mark.parametrize("driver", DRIVERS)
def test_broken_tls_is_reported_in_words(driver: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        Thread(target=answer_tls_with_nonsense, args=[server], daemon=True).start()
        url = f"postgresql+{driver}://u@127.0.0.1:{server.getsockname()[1]}/e?sslmode=require"
        with pytest.raises(StoreUnavailable, match="SSL"):
            SqlPersistence(url, patience=0).read(lambda tx: tx.now())


def answer_tls_with_nonsense(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(8)
        connection.sendall(b"S")
        connection.recv(4096)
        connection.sendall(b"nonsense")


@pytest.mark.failure(88)
@pytest.mark.parametrize("driver", DRIVERS)
def test_a_failed_connection_shows_no_password(driver: str) -> None:
    url = f"postgresql+{driver}://u:{SECRET}@127.0.0.1:1/e"
    persistence = SqlPersistence(url, patience=0)
    with pytest.raises(EngineError) as error:
        persistence.read(lambda tx: tx.now())
    assert SECRET not in "".join(traceback.format_exception(error.value))
    assert SECRET not in f"{persistence!r} {persistence._engine!r} {persistence._url!r} {persistence._retries!r}"
