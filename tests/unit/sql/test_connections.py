"""From a URL to connections."""

import os
import sqlite3
import ssl
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, make_url

from engine.adapters.sql.connections import open_engine
from engine.adapters.sql.database_url import parse_url
from engine.adapters.sql.persistence import SqlPersistence
from engine.domain.errors import StoreError, StoreUnavailable
from engine.testing.contracts.changes import applied, begun
from tests.support.postgres import PostgresServer
from tests.unit.sql.stores import DRIVERS, emptied


class Stop(Exception):
    """Instead of connecting."""


def connect_arguments(text: str) -> dict[str, Any]:
    """The arguments of the driver's call."""
    seen: dict[str, Any] = {}

    def connect(_dialect: Any, _record: Any, _arguments: Any, options: dict[str, Any]) -> None:
        seen.update(options)
        raise Stop

    engine = open_engine(parse_url(text), pool_size=1, connect_timeout=45)
    event.listen(engine, "do_connect", connect)
    with pytest.raises(Stop):
        engine.connect()
    return seen


@pytest.mark.parametrize(
    ("text", "verified"),
    [
        ("postgresql://u@127.0.0.1/engine", None),
        ("postgresql://u@localhost/engine", None),
        ("postgresql://u@db.example/engine?sslmode=disable", None),
        ("postgresql://u@db.example/engine", False),
        ("postgresql://u@127.0.0.1/engine?sslmode=require", False),
        ("postgresql://u@db.example/engine?sslmode=verify-full", True),
    ],
)
def test_tls_is_used_everywhere_but_on_loopback(text: str, verified: bool | None) -> None:
    context = connect_arguments(text)["ssl_context"]
    if verified is None:
        assert context is False
    else:
        assert context.verify_mode is (ssl.CERT_REQUIRED if verified else ssl.CERT_NONE)
        assert context.check_hostname is verified
        assert connect_arguments(text)["ssl_context"] is context


def test_psycopg_prepares_no_statements() -> None:
    arguments = connect_arguments("postgresql+psycopg://u@db.example/engine?sslmode=require")
    assert arguments["prepare_threshold"] is None
    assert (arguments["connect_timeout"], arguments["sslmode"]) == (45, "require")


@pytest.mark.postgres
def test_a_server_without_tls_is_reported_at_once(postgres_server: PostgresServer) -> None:
    persistence = SqlPersistence(emptied(postgres_server) + "?sslmode=require")
    with pytest.raises(StoreUnavailable, match=r"\?sslmode=disable"):
        persistence.read(lambda tx: tx.now())


@pytest.mark.postgres
@pytest.mark.parametrize("driver", DRIVERS)
def test_a_database_that_does_not_exist_is_reported_at_once(postgres_server: PostgresServer, driver: str) -> None:
    url = make_url(emptied(postgres_server, driver)).set(database="nowhere", password="s3cret")
    persistence = SqlPersistence(url.render_as_string(hide_password=False))
    with pytest.raises(StoreError, match=r"'nowhere' at 127\.0\.0\.1") as error:
        persistence.read(lambda tx: tx.now())
    assert "s3cret" not in str(error.value)


def test_a_writer_waits_for_one_of_another_process(tmp_path: Path) -> None:
    path = tmp_path / "engine.db"
    persistence = SqlPersistence(f"sqlite:///{path}")
    persistence.read(lambda tx: tx.now())
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.3, other.execute, ["COMMIT"])
    timer.start()
    applied(persistence, begun("a"))
    timer.join()
    other.close()
    persistence.close()


def test_readers_of_an_embedded_database_do_not_wait_for_a_writer(tmp_path: Path) -> None:
    path = tmp_path / "engine.db"
    persistence = SqlPersistence(f"sqlite:///{path}")
    applied(persistence, begun("a"))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    other.execute("UPDATE workflow_run SET total_tokens = 9")
    assert persistence.read(lambda tx: tx.runs.get("r")).total_tokens == 0
    other.close()
    persistence.close()


@pytest.mark.failure(90)
@pytest.mark.parametrize("mode", [0o022, 0o000])
def test_an_embedded_database_is_private(tmp_path: Path, mode: int) -> None:
    before = os.umask(mode)
    try:
        persistence = SqlPersistence(f"sqlite:///{tmp_path}/home/engine.db")
        applied(persistence, begun("a"))
    finally:
        os.umask(before)
    found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "home").iterdir()}
    assert found == {"engine.db": 0o600, "engine.db-wal": 0o600, "engine.db-shm": 0o600}
    assert stat.S_IMODE((tmp_path / "home").stat().st_mode) == 0o700
    persistence.close()


def test_an_embedded_database_that_cannot_be_created_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="unable to open database file"):
        SqlPersistence(f"sqlite:///{tmp_path}/file/engine.db").read(lambda tx: tx.now())


def test_an_embedded_database_is_written_durably(tmp_path: Path) -> None:
    persistence = SqlPersistence(f"sqlite:///{tmp_path}/engine.db")
    with persistence._connect() as connection:
        found = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in PRAGMAS}
    assert found == PRAGMAS
    persistence.close()


PRAGMAS = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 10_000}


def test_an_embedded_database_may_live_in_memory() -> None:
    persistence = SqlPersistence("sqlite:///:memory:")
    applied(persistence, begun("a"))
    assert persistence.read(lambda tx: tx.runs.get("r")).group_open == 1
    persistence.close()
