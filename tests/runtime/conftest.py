import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cdk.bundling import CONTROL, Architecture, build
from tests.runtime.deployment import MAINTENANCE, Deployment, deployed
from tests.support.postgres import PostgresServer
from tests.support.runtime_api import LambdaFunction


@pytest.fixture(scope="session")
def control_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The control plane's bundle for this machine, unpacked as Lambda does it."""
    folder = tmp_path_factory.mktemp("task")
    with zipfile.ZipFile(build(CONTROL, Architecture.X86_64, untracked=True).path) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def deployment(control_bundle: Path, postgres_server: PostgresServer) -> Iterator[Deployment]:
    """Migrated by the function that does it on AWS."""
    with deployed(control_bundle, postgres_server) as made:
        answer = made.migrate()
        assert answer.ok, answer.payload
        yield made


@pytest.fixture(scope="module")
def maintenance(deployment: Deployment) -> Iterator[LambdaFunction]:
    with deployment.function(MAINTENANCE) as function:
        yield function
