"""The commands that the CLI proposes find the program, and the same runs."""

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from engine.cli.invocation import Invocation, program, without_password
from tests.cli.calling import Call, environment

SCRIPT = "import sys\nfrom engine.cli.main import main\nsys.exit(main())\n"


@pytest.fixture
def script(folder: Path) -> Path:
    """A console script in a folder that is not on PATH."""
    path = folder / "bin" / "engine"
    path.parent.mkdir()
    path.write_text(f"#!{sys.executable}\n{SCRIPT}")
    path.chmod(0o755)
    return path


def _called(words: Sequence[str], folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    given: Mapping[str, str] = {**environment(), **variables}
    return subprocess.run(words, cwd=folder, env=given, capture_output=True, text=True, check=True)


def _proposed(out: str, command: str) -> Sequence[str]:
    return next(shlex.split(line) for line in out.splitlines() if f" {command} " in line)


def test_a_script_that_is_not_on_path_is_proposed_as_it_was_called(script: Path, folder: Path) -> None:
    ran = _called(["bin/engine", "run", "greeting"], folder)
    hint = _proposed(ran.stdout, "runs show")
    assert hint[0] == "bin/engine"
    assert "COMPLETED" in _called(hint, folder).stdout


def test_a_script_on_path_is_proposed_by_its_name(script: Path, folder: Path) -> None:
    path = f"{script.parent}{os.pathsep}{os.environ['PATH']}"
    ran = _called(["bin/engine", "run", "greeting"], folder, PATH=path)
    assert _proposed(ran.stdout, "runs show")[0] == "engine"


def test_a_new_project_is_run_with_the_script_that_made_it(script: Path, folder: Path) -> None:
    made = _called(["bin/engine", "init", "new project"], folder)
    assert f"cd 'new project' && {script} run hello" in made.stderr


def test_a_database_given_as_an_option_is_part_of_what_is_proposed(engine: Call, folder: Path) -> None:
    hint = _proposed(engine("run", "greeting", "--database-url", "sqlite:///other.db").out, "runs show")
    assert engine(*hint[1:]).code == 0
    assert engine("runs", "show", hint[-1]).code == 2


@pytest.mark.failure(88)
@pytest.mark.parametrize("around", ["", '"', " "])
def test_a_password_is_not_shown(around: str) -> None:
    url = f"{around}postgresql://me:se%20cret@localhost/db{around}"
    assert without_password(url) == "postgresql+pg8000://me:***@localhost/db"
    assert without_password("postgresql://me@localhost/db") == "postgresql+pg8000://me@localhost/db"
    assert "cret" not in Invocation(database_url=url).command


def test_called_as_a_module_the_program_is_proposed_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/main.py"])
    assert program() == Path("engine")
