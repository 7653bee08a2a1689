import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pg8000.native
import pytest

from tests.support.postgres import SERVER_TIME_ZONE, PostgresServer

pytestmark = pytest.mark.postgres


def query(server: PostgresServer, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
    connection = pg8000.native.Connection(
        "postgres", host="127.0.0.1", port=server.port, database=database, ssl_context=False
    )
    try:
        return [tuple(row) for row in connection.run(statement) or []]
    finally:
        connection.close()


def test_the_server_is_not_on_utc(postgres_server: PostgresServer) -> None:
    assert query(postgres_server, "SHOW timezone") == [(SERVER_TIME_ZONE,)]


def test_a_database_made_from_a_template_has_what_the_template_had(postgres_server: PostgresServer) -> None:
    postgres_server.create_database("the_template")
    query(postgres_server, "CREATE TABLE kept (n int)", "the_template")
    url = postgres_server.create_database("the_copy", template="the_template")
    assert url.endswith("/the_copy")
    assert query(postgres_server, "SELECT count(*) FROM kept", "the_copy") == [(0,)]


def test_committed_rows_survive_a_killed_server_which_keeps_its_address() -> None:
    with PostgresServer() as server:
        port = server.port
        query(server, "CREATE TABLE kept (n int)")
        query(server, "INSERT INTO kept VALUES (1)")
        server.kill()
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", port), timeout=1)
        server.start()
        assert server.port == port
        assert query(server, "SELECT n FROM kept") == [(1,)]
        assert "was not properly shut down" in server.log


def test_a_durable_server_waits_for_the_disk() -> None:
    with PostgresServer(durable=True) as server:
        assert query(server, "SHOW fsync") == [("on",)]


def test_nothing_is_left_when_the_process_that_started_the_server_is_killed() -> None:
    script = (
        "import signal; from tests.support.postgres import PostgresServer\n"
        "server = PostgresServer(); server.start(); print(server._folder, flush=True); signal.pause()"
    )
    owner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    with owner.stdout:
        folder = Path(owner.stdout.readline().strip())
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    deadline = time.monotonic() + 10
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not folder.exists()
    assert str(folder) not in subprocess.check_output(["ps", "-A", "-o", "args"], text=True)
