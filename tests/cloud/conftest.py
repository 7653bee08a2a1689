from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.adapters.sql.migrate import migrate
from tests.cloud.deployment import Deployment
from tests.support.ministack import Ministack
from tests.support.postgres import PostgresServer


@pytest.fixture(scope="session")
def emulator() -> Iterator[Ministack]:
    with Ministack() as running:
        yield running


@pytest.fixture(scope="session")
def cloud_template(postgres_server: PostgresServer) -> str:
    migrate(postgres_server.create_database("cloud_template"))
    return "cloud_template"


@pytest.fixture
def timeout() -> float:
    """The timeout of the deployment's functions in seconds."""
    return 60.0


@pytest.fixture
def deployment(
    emulator: Ministack, postgres_server: PostgresServer, cloud_template: str, tmp_path: Path, timeout: float
) -> Deployment:
    """An empty deployment with a database of its own."""
    emulator.reset()
    url = postgres_server.create_database(template=cloud_template)
    return Deployment(emulator, url, tmp_path, timeout=timeout)
