"""PostgreSQL fails in every way while runs are created and executed."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.adapters.sql.migrate import migrate
from engine.bootstrap.aws import AwsEngine
from tests.cloud.deployment import Deployment, assert_completed_once, ended, started
from tests.support.ministack import Ministack
from tests.support.postgres import PostgresServer
from tests.support.waiting import until

pytestmark = pytest.mark.postgres

AT_ONCE = 6
DATABASE = "away"


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as own:
        yield own


@pytest.fixture
def deployment(emulator: Ministack, server: PostgresServer, tmp_path: Path) -> Deployment:
    emulator.reset()
    url = server.create_database(DATABASE)
    migrate(url)
    return Deployment(emulator, url, tmp_path)


@pytest.mark.timeout(180)
def test_no_run_is_lost_and_none_done_twice_whatever_the_database_says(
    deployment: Deployment, server: PostgresServer
) -> None:
    troubles = (restarted, crashed, admin_shutdown, starting_up, read_only)
    runs: list[str] = []
    with deployment.engine() as engine, deployment.at_work():
        for trouble in troubles:
            runs += load(engine)
            until(is_begun(engine, runs[-AT_ONCE]), "they are being worked on")
            trouble(server)
        runs += load(engine)
        for run_id in runs:
            until(ended(engine, run_id), f"{run_id} has ended", seconds=90)
            assert_completed_once(engine, run_id)


def is_begun(engine: AwsEngine, run_id: str) -> Callable[[], bool]:
    return lambda: engine.kernel.reads.run(run_id).stages[0].started_at is not None


def load(engine: AwsEngine) -> list[str]:
    return [started(engine, "steady", {"seconds": 0.2}) for _ in range(AT_ONCE)]


def restarted(server: PostgresServer) -> None:
    server.stop()
    server.start()


def crashed(server: PostgresServer) -> None:
    server.kill()
    server.start()


def admin_shutdown(server: PostgresServer) -> None:
    """57P01, several times in a row."""
    for _ in range(5):
        terminate(server)


def starting_up(server: PostgresServer) -> None:
    """57P03 for everybody who connects, for a while."""
    server.stop()
    with refusing(server.port, "57P03", "the database system is starting up") as refused:
        until(lambda: len(refused) >= 3, "somebody has tried")
    server.start()


def read_only(server: PostgresServer) -> None:
    """25006, as on a replica that was the writer before a failover."""
    server.execute(f"ALTER DATABASE {DATABASE} SET default_transaction_read_only = on")
    terminate(server)
    until(lambda: "read-only transaction" in server.log, "somebody has tried to write")
    server.execute(f"ALTER DATABASE {DATABASE} RESET default_transaction_read_only")


def terminate(server: PostgresServer) -> None:
    server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{DATABASE}'")


@contextmanager
def refusing(port: int, code: str, message: str) -> Iterator[list[object]]:
    """A server that answers every start of a session with this error. Gives the refused clients."""
    fields = {"S": "FATAL", "V": "FATAL", "C": code, "M": message}
    body = b"".join(name.encode() + value.encode() + b"\0" for name, value in fields.items()) + b"\0"
    refused: list[object] = []

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                session, _ = listener.accept()
            except OSError:
                return
            with session:
                session.recv(1024)
                session.sendall(b"E" + struct.pack("!i", len(body) + 4) + body)
                refused.append(code)

    with socket.create_server(("127.0.0.1", port)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        yield refused
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()
