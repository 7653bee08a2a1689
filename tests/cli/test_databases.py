"""The database of a command: DATABASE_URL, or a private file in the home."""

import os
import stat
from pathlib import Path

import pytest

from tests.cli.calling import Call

REFUSED = {
    "an unknown option": ("postgresql://u:s3cret@h/e?sslcompresion=1", "'sslcompresion'"),
    "a port in words": ("postgresql://u:s3cret@h:port/e", "a port that is not a number"),
    "an @ in the password": ("postgresql://u:a@s3cret@h/e", "percent-encode"),
    "another database": ("mysql://u:s3cret@h/e", "mysql://"),
}


@pytest.mark.parametrize(("url", "expected"), REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.parametrize("command", [("migrate",), ("runs", "list"), ("run", "greeting", "--input", "{}")])
def test_a_database_url_that_cannot_be_used_is_refused(
    engine: Call, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], url: str, expected: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    answer = engine(*command, "--debug")
    assert answer.code == 2
    *_, sentence = answer.err.splitlines()
    assert sentence.startswith("error: DATABASE_URL ")
    assert expected in sentence
    assert "s3cret" not in answer.err + answer.out


def test_a_database_that_does_not_answer_shows_no_password(engine: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.bootstrap.embedded.FIRST_PATIENCE", 0.1)
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:s3cret@127.0.0.1:1/e?connect_timeout=1")
    answer = engine("runs", "list", "--debug")
    assert answer.code == 4
    assert "s3cret" not in answer.err + answer.out


@pytest.mark.failure(90)
@pytest.mark.parametrize("command", [("migrate",), ("run", "greeting", "--input", '{"name": "Ada"}')])
@pytest.mark.parametrize("fake_ai", [False, True])
def test_the_home_is_private(engine: Call, folder: Path, command: tuple[str, ...], fake_ai: bool) -> None:
    before = os.umask(0)
    try:
        answer = engine(*command, *(["--fake-ai"] if fake_ai and "run" in command else []))
    finally:
        os.umask(before)
    assert answer.code == 0, answer.err
    home = folder / ".engine"
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in home.glob("engine.db*")} == {0o600}
