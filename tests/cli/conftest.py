from pathlib import Path

import pytest

from engine.cli.main import main
from tests.cli.calling import VARIABLES, Answer, Call


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: empty, with the test workflows registered and no engine state."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    return tmp_path


@pytest.fixture
def engine(folder: Path, capfd: pytest.CaptureFixture[str]) -> Call:
    """Calls the CLI in this process; its streams are files, as in a pipe."""

    def call(*words: str) -> Answer:
        capfd.readouterr()
        code = main(words)
        out, err = capfd.readouterr()
        return Answer(code, out, err)

    return call
