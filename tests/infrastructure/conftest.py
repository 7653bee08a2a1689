from pathlib import Path

import pytest

from tests.infrastructure.synthesis import EXTERNAL, Resources, synthesize, template


@pytest.fixture(scope="session")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default environment: Aurora, dual-stack network."""
    output = tmp_path_factory.mktemp("dev")
    done = synthesize(output, "dev")
    assert done.returncode == 0, done.stderr
    return output


@pytest.fixture(scope="session")
def data(dev: Path) -> Resources:
    return template(dev, "engine-dev-data")


@pytest.fixture(scope="session")
def app(dev: Path) -> Resources:
    return template(dev, "engine-dev-app")


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("local")
    done = synthesize(output, "local", **EXTERNAL)
    assert done.returncode == 0, done.stderr
    return output
