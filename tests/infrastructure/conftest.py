from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.infrastructure.synthesis import VARIANTS, Resources, synthesize, template


@pytest.fixture(scope="session")
def variant(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The templates of one of `VARIANTS`, made once; nothing may be said against them."""

    @cache
    def made(name: str) -> Path:
        output = tmp_path_factory.mktemp(name)
        done = synthesize(output, "dev", **VARIANTS[name])
        assert (done.returncode, done.stderr) == (0, "")
        return output

    return made


@pytest.fixture(scope="session")
def dev(variant: Callable[[str], Path]) -> Path:
    """The default environment: Aurora, dual-stack network."""
    return variant("aurora")


@pytest.fixture(scope="session")
def data(dev: Path) -> Resources:
    return template(dev, "engine-dev-data")


@pytest.fixture(scope="session")
def app(dev: Path) -> Resources:
    return template(dev, "engine-dev-app")
