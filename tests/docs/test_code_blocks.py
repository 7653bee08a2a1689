"""The pages' examples work: their Python runs, their JSON parses, their commands succeed.

A fence marked `no-run` is left alone: ```bash no-run
"""

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [page for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))) if page.exists()]
PROJECT_FOLDERS = ("functions", "events")

FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^`\n]+)\n(?P<text>.*?)^(?P=indent)``` *$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^(?:\$ )?(engine .*)$", re.MULTILINE)
CONTINUED = re.compile(r"\\\n(?:> )?\s*")


@dataclass(frozen=True, slots=True)
class Block:
    language: str
    text: str
    line: int


def blocks(page: Path, *languages: str) -> Iterator[Block]:
    text = page.read_text()
    for fence in FENCE.finditer(text):
        language, *marks = fence["info"].split()
        if language in languages and "no-run" not in marks:
            line = text.count("\n", 0, fence.start("text"))
            yield Block(language, textwrap.dedent(fence["text"]), line)


def commands(page: Path) -> Iterator[str]:
    for block in blocks(page, "console", "bash"):
        yield from COMMAND.findall(CONTINUED.sub(" ", block.text))


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


every_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


# litellm warns of its own affairs; that is for its authors to see.
@pytest.mark.filterwarnings("ignore:Accessing the 'model_")
@every_page
def test_python_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # A module of its own, because annotations are looked up in the module that holds them.
    module = ModuleType("documentation_page")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for block in blocks(page, "python"):
        # Moved down so that a traceback names the page's line.
        source = "\n" * block.line + block.text
        exec(compile(source, str(page), "exec"), module.__dict__)


@every_page
def test_json_parses(page: Path) -> None:
    for block in blocks(page, "json"):
        json.loads(block.text)


@every_page
def test_engine_commands_succeed(page: Path, tmp_path: Path) -> None:
    for folder in PROJECT_FOLDERS:
        if (ROOT / folder).exists():
            shutil.copytree(ROOT / folder, tmp_path / folder)
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(tmp_path),  # the copy's workflows, not the checkout's
    }
    for command in commands(page):
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            check=False,
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
