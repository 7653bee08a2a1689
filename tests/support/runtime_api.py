"""Lambda on this machine: AWS's own runtime client runs an unpacked bundle against a small Runtime API server.

A `LambdaFunction` is one sandbox at a time. Like Lambda it starts a process for the first invocation and whenever the
last one is gone, gives each invocation a deadline, and kills the process that misses it. The process sees the bundle
and the runtime client, nothing of this repository or its environment.
"""

import contextlib
import importlib.metadata
import itertools
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

CLIENT_PACKAGES = ("awslambdaric", "simplejson", "snapshot_restore_py")
API = "/2018-06-01/runtime"
REGION = "us-east-1"
INIT_SECONDS = 60.0
"""Lambda gives 10; a shared machine is slower."""

SHUTDOWN_SECONDS = 0.5
"""Seconds from SIGTERM to SIGKILL on Lambda; 0.3 with external extensions, and no signal without any extension."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The invoker's answer: the handler's result, or the description of an error. Times are in seconds."""

    ok: bool
    payload: Any
    log: str
    seconds: float
    init_seconds: float | None
    """None when the process was warm."""

    @property
    def error_type(self) -> str | None:
        return None if self.ok else self.payload["errorType"]

    @property
    def error_message(self) -> str | None:
        return None if self.ok else self.payload["errorMessage"]

    @property
    def records(self) -> list[dict[str, Any]]:
        """The lines of the log that are JSON objects: the logger's and the metrics."""
        lines = (line for line in self.log.splitlines() if line.startswith("{"))
        return [json.loads(line) for line in lines]


class LambdaFunction:
    """A handler of a bundle, invoked one event at a time. A context manager."""

    def __init__(
        self,
        bundle: Path,
        handler: str,
        environment: Mapping[str, str],
        *,
        timeout: float = 30.0,
        memory: int = 1024,
    ) -> None:
        self.timeout = timeout
        self._bundle, self._handler = bundle, handler
        self._environment = _lambda_environment(handler, memory) | dict(environment)
        self._sandbox: _Sandbox | None = None
        self._turn = threading.Lock()
        self._callers = ThreadPoolExecutor(thread_name_prefix="caller")
        self.starts = 0
        """The number of processes that were started."""

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="engine-lambda-"))
        install_client(self._folder / "client")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._callers.shutdown()
        shutil.rmtree(self._folder)

    @property
    def log(self) -> str:
        """The output of all its processes."""
        log = self._folder / "log"
        return log.read_text(errors="replace") if log.exists() else ""

    def invoke(self, event: object) -> Answer:
        """Waits for the answer, after those of earlier callers. A handler's error is an answer too."""
        with self._turn:
            before, begun = len(self.log), time.monotonic()
            sandbox, init_seconds = self._sandbox, None
            if sandbox is None or not sandbox.alive:
                sandbox = self._start()
                outcome = sandbox.wait_for_init()
                init_seconds, begun = time.monotonic() - begun, time.monotonic()
            else:
                outcome = None
            outcome = outcome or sandbox.invoke(event, self.timeout)
            seconds = time.monotonic() - begun
            if outcome.fatal:
                sandbox.end(signal.SIGKILL)
            return Answer(outcome.ok, outcome.payload, self.log[before:], seconds, init_seconds)

    def invoke_in_background(self, event: object) -> Future[Answer]:
        """Invokes in another thread, so that the test can act on the process meanwhile."""
        return self._callers.submit(self.invoke, event)

    def kill(self) -> None:
        """Kills the sandbox. The running invocation is answered with Runtime.ExitError."""
        if self._sandbox is not None:
            self._sandbox.end(signal.SIGKILL)

    def shut_down(self, grace: float = SHUTDOWN_SECONDS) -> None:
        """Ends the sandbox as Lambda does: SIGTERM, and SIGKILL a moment later."""
        if self._sandbox is not None:
            self._sandbox.end(signal.SIGTERM, grace)

    def _start(self) -> "_Sandbox":
        self.starts += 1
        self._sandbox = _Sandbox(self._bundle, self._handler, self._environment, self._folder)
        return self._sandbox


def install_client(folder: Path) -> None:
    """Installs only the runtime client, so that the bundle cannot import other packages of this environment."""
    for package in CLIENT_PACKAGES:
        for file in importlib.metadata.files(package) or ():
            if file.parts[0] != ".." and file.suffix != ".pyc":
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file.locate(), folder / file)


def _lambda_environment(handler: str, memory: int) -> dict[str, str]:
    name = handler.split(".")[-2]
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
        "AWS_LAMBDA_FUNCTION_NAME": name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(memory),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": "local",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "_HANDLER": handler,
    }


@dataclass(frozen=True, slots=True)
class _Outcome:
    ok: bool
    payload: Any
    fatal: bool = False
    """The process has ended, or must end."""


class _Ready:
    """The process asked for its first invocation."""


type _Report = _Ready | _Outcome


class _Sandbox:
    """One process and the Runtime API it talks to."""

    def __init__(self, bundle: Path, handler: str, environment: Mapping[str, str], folder: Path) -> None:
        self._api = _RuntimeApi()
        with (folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                # No site-packages (-S) and not the working directory (-P): the path is what it is on Lambda.
                [sys.executable, "-S", "-P", "-m", "awslambdaric", handler],
                cwd=bundle,
                env={
                    **environment,
                    "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._api.server_port}",
                    "LAMBDA_TASK_ROOT": str(bundle),
                    "PYTHONPATH": os.pathsep.join([str(bundle), str(folder / "client")]),
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        threading.Thread(target=self._watch, daemon=True).start()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def wait_for_init(self) -> _Outcome | None:
        """Gives None when the handler is loaded, otherwise the error for the first invoker."""
        try:
            report = self._api.reports.get(timeout=INIT_SECONDS)
        except queue.Empty:
            return _Outcome(ok=False, payload=_error("Sandbox.Timedout", "init took too long"), fatal=True)
        return report if isinstance(report, _Outcome) else None

    def invoke(self, event: object, timeout: float) -> _Outcome:
        request_id = self._api.offer(event, time.time() + timeout)
        try:
            report = self._api.reports.get(timeout=timeout)
        except queue.Empty:
            message = f"RequestId: {request_id} Error: Task timed out after {timeout:.2f} seconds"
            return _Outcome(ok=False, payload=_error("Sandbox.Timedout", message), fatal=True)
        assert isinstance(report, _Outcome)
        return report

    def end(self, how: signal.Signals, grace: float = SHUTDOWN_SECONDS) -> None:
        self._process.send_signal(how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(grace)
        self._process.kill()
        self._process.wait()

    def _watch(self) -> None:
        code = self._process.wait()
        reason = f"signal: {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        error = _error("Runtime.ExitError", f"Runtime exited with error: {reason}")
        self._api.close(_Outcome(ok=False, payload=error, fatal=True))


class _RuntimeApi(ThreadingHTTPServer):
    """The server of one process. `reports` are the messages of the process, in order."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Requests)
        self.reports: queue.SimpleQueue[_Report] = queue.SimpleQueue()
        self._invocations: queue.SimpleQueue[tuple[dict[str, str], bytes] | None] = queue.SimpleQueue()
        self._numbers = itertools.count(1)
        self._asked = False
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def offer(self, event: object, deadline: float) -> str:
        request_id = f"{next(self._numbers):08x}-0000-4000-8000-{self.server_port:012x}"
        headers = {
            "Lambda-Runtime-Aws-Request-Id": request_id,
            "Lambda-Runtime-Deadline-Ms": str(int(deadline * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": f"arn:aws:lambda:{REGION}:000000000000:function:local",
            "Lambda-Runtime-Trace-Id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0",
        }
        self._invocations.put((headers, json.dumps(event).encode()))
        return request_id

    def next_invocation(self) -> tuple[dict[str, str], bytes] | None:
        if not self._asked:
            self._asked = True
            self.reports.put(_Ready())
        return self._invocations.get()

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A killed process closes the connection in the middle of an answer.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def close(self, last: _Outcome) -> None:
        self.reports.put(last)
        self._invocations.put(None)
        self.shutdown()
        self.server_close()


class _Requests(BaseHTTPRequestHandler):
    server: _RuntimeApi
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        invocation = self.server.next_invocation() if self.path == f"{API}/invocation/next" else None
        if invocation is None:
            self.close_connection = True
        else:
            self._answer(HTTPStatus.OK, invocation[1], invocation[0])

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        what = self.path.removeprefix(f"{API}/").rpartition("/")[2]
        # Answered before the process can request the next invocation.
        outcome = _Outcome(ok=what == "response", payload=json.loads(body), fatal=self.path == f"{API}/init/error")
        self.server.reports.put(outcome)
        self._answer(HTTPStatus.ACCEPTED, b'{"status":"OK"}', {})

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parameter's name is inherited
        pass

    def _answer(self, status: HTTPStatus, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _error(kind: str, message: str) -> dict[str, str]:
    return {"errorType": kind, "errorMessage": message}
