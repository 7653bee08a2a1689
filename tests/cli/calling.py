"""Calls of the CLI: in this process for speed, or as a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-c", "import sys; from engine.cli.main import main; sys.exit(main())")
VARIABLES = {"ENGINE_REGISTRY": "tests.cli.pipelines:WORKFLOWS", "ENGINE_CODE": str(ROOT)}


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """All of stdout, which must be one document."""
        return json.loads(self.out)


type Call = Callable[..., Answer]


def environment(**more: str) -> Mapping[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "NO_COLOR"}}
    return {**kept, **VARIABLES, "PYTHONPATH": str(ROOT), **more}


def started(*words: str, folder: Path, **options: Any) -> subprocess.Popen[str]:
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
    return subprocess.Popen([*COMMAND, *words], cwd=folder, env=environment(), text=True, **{**streams, **options})


def ended(process: subprocess.Popen[str], timeout: float = 60) -> Answer:
    out, err = process.communicate(timeout=timeout)
    return Answer(process.returncode, out, err)
