import signal
from collections.abc import Iterator

import pytest

from tests.support.postgres import PostgresServer

# Shells start what runs in the background with Ctrl-C ignored; tests of Ctrl-C must not depend on that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for the whole run. A test that stops or kills a server starts its own."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """The URL of an empty database of the test's own."""
    return postgres_server.create_database()
