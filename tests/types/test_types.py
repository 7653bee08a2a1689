"""The type checker's messages to authors. `make check` reads the good files; the bad ones suppress their errors."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
HIDDEN = "# mypy: ignore-errors\n"


def findings(file: Path) -> list[tuple[int, str]]:
    """Line and code of every error mypy finds with the project's own settings."""
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(ROOT / ".mypy_cache/types"), "--no-pretty", str(file)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "MYPYPATH": str(ROOT)}
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    lines = re.findall(r"^[^\n]+?:(\d+): error: .*\[([a-z-]+)\]$", done.stdout, re.MULTILINE)
    return sorted({(int(line), code) for line, code in lines})


def expected(text: str) -> list[tuple[int, str]]:
    marks = ((number, re.search(r"# expect: ([a-z-]+)$", line)) for number, line in enumerate(text.splitlines(), 1))
    return [(number, mark[1]) for number, mark in marks if mark]


@pytest.mark.parametrize("file", sorted(HERE.glob("pass/*.py")), ids=lambda file: file.stem)
def test_correct_code_has_no_findings(file: Path) -> None:
    assert findings(file) == []


@pytest.mark.parametrize("file", sorted(HERE.glob("fail/*.py")), ids=lambda file: file.stem)
def test_each_marked_mistake_is_found_and_nothing_else(file: Path, tmp_path: Path) -> None:
    text = file.read_text()
    copy = tmp_path / f"{file.stem}_seen.py"
    copy.write_text(text.replace(HIDDEN, "#\n", 1))
    assert findings(copy) == expected(text)
