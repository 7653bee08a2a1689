"""A process for one function, like Lambda's sandboxes: one event at a time, killed at its timeout."""

import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from engine.localcloud.sandbox_main import Answer, Invoke, Raised, Ready

INIT_SECONDS = 60.0
GRACE_SECONDS = 2.0
"""Seconds between SIGTERM and SIGKILL, as on Lambda."""


class FunctionFailed(Exception):
    """The invocation gave no answer: the handler raised or timed out, or its process died."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function. `handler` is `module.function`, as on Lambda; `timeout` is in seconds."""

    name: str
    handler: str
    timeout: float
    environment: Mapping[str, str]
    log: Path


class Sandbox:
    """A sandbox. It starts its process at the first invocation and after a crash. Only `stop` is thread-safe."""

    def __init__(self, function: Function) -> None:
        self.function = function
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None
        self._changing = threading.Lock()
        self._stopped = False

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def invoke(self, event: dict[str, Any]) -> Any:
        """Gives the handler's answer. Raises `FunctionFailed`."""
        timeout = self.function.timeout
        try:
            pipe = self._started()
            pipe.send(Invoke(str(uuid.uuid4()), event, timeout))
            answer = pipe.recv() if pipe.poll(timeout) else None
        except (EOFError, OSError) as error:
            self._end(signal.SIGKILL)
            raise FunctionFailed(f"{self.function.name}: the process died") from error
        match answer:
            case Answer():
                return answer.value
            case Raised():
                raise FunctionFailed(f"{self.function.name}: {answer.kind}: {answer.message}")
            case _:
                self._end(signal.SIGKILL)
                raise FunctionFailed(f"{self.function.name}: timed out after {timeout:g} s")

    def stop(self) -> None:
        """Sends SIGTERM and waits shortly, so that the process can release its leases."""
        self._stopped = True
        self._end(signal.SIGTERM)

    def _started(self) -> Connection:
        with self._changing:
            if self._stopped:
                raise FunctionFailed(f"{self.function.name}: stopped")
            if self._process is None or self._pipe is None or self._process.poll() is not None:
                self._pipe = self._start()
            return self._pipe

    def _start(self) -> Connection:
        function = self.function
        ours, theirs = Pipe()
        with function.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__ + "_main", str(theirs.fileno()), function.name, function.handler],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**function.environment, "PYTHONUNBUFFERED": "1"},
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        theirs.close()
        loaded = ours.recv() if ours.poll(INIT_SECONDS) else None
        if not isinstance(loaded, Ready):
            why = f"{loaded.kind}: {loaded.message}" if isinstance(loaded, Raised) else "it takes too long"
            raise FunctionFailed(f"{self.function.name}: {self.function.handler} cannot be loaded: {why}")
        return ours

    def _end(self, how: signal.Signals) -> None:
        with self._changing:
            process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
        process.kill()
        process.wait()
