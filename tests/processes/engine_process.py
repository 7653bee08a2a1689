"""The engine as a user starts it: a process, a home folder, an end."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.adapters.files.blob_store import FileBlobStore
from engine.adapters.sql.persistence import SqlPersistence
from engine.domain.records import RunRecord
from engine.ports.transaction import RunFilter
from engine.reading.reads import StoredReads

ROOT = Path(__file__).parents[2]
ENGINE = Path(sys.executable).parent / "engine"
PATIENCE = 30.0


class HomeReads(StoredReads):
    def runs_of_home(self) -> Sequence[RunRecord]:
        """All runs, newest first."""
        return self.runs(RunFilter(), 1000).runs


@dataclass(frozen=True)
class EngineHome:
    """An embedded engine in `folder`; `registry` names its workflows, `database_url` another store, `ai_base_url` a
    server of models."""

    folder: Path
    registry: str = "tests.processes.pipelines:WORKFLOWS"
    database_url: str | None = None
    ai_base_url: str | None = None

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [ENGINE, *arguments],
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def call(self, *arguments: str, timeout: float = PATIENCE) -> Any:
        """The JSON a command prints. Raises when it fails."""
        process = self.start(*arguments, "-o", "json")
        try:
            out, err = process.communicate(timeout=timeout)
        finally:
            process.kill()
        assert process.returncode == 0, f"engine {' '.join(arguments)} exited with {process.returncode}: {err}{out}"
        return json.loads(out)

    @contextmanager
    def reads(self) -> Iterator[HomeReads]:
        """The same store, looked at from this process. Waits until it has been made."""
        url = self.database_url or f"sqlite:///{self.folder / '.engine' / 'engine.db'}"
        persistence = SqlPersistence(url)
        try:
            yield HomeReads(persistence, FileBlobStore(self.folder / ".engine" / "blobs"))
        finally:
            persistence.close()

    def _environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("ENGINE_")}
        mine = {"ENGINE_REGISTRY": self.registry, "ENGINE_CODE": str(ROOT)}
        if self.database_url:
            mine["DATABASE_URL"] = self.database_url
        if self.ai_base_url:
            mine["ENGINE_AI_BASE_URL"] = self.ai_base_url
        return inherited | mine


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def wait_until(condition: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, f"{what} did not happen within {patience:g} s"
        time.sleep(0.01)
