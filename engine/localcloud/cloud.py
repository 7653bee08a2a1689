"""The local cloud: emulator, database, resources and running functions, in a context manager that cleans up."""

import os
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from engine.adapters.aws.clients import AwsClients
from engine.localcloud.emulator import CREDENTIALS, REGION, Emulator, install_emulator
from engine.localcloud.event_source import EventSource
from engine.localcloud.function_events import schedule_event
from engine.localcloud.postgres_server import PostgresServer
from engine.localcloud.resources import CloudResources, Queue, create_resources
from engine.localcloud.sandbox import Function, FunctionFailed, Sandbox

JOBS, MAINTENANCE, MIGRATE = "functions.jobs.handler", "functions.maintenance.handler", "functions.migrate.handler"
CONTROL_TIMEOUT = 60.0
SWEEP_SECONDS = 6 * 60 * 60
DEFAULT_POOLS: Mapping[str, float] = {"default": 300.0}


class LocalCloud:
    """A fresh deployment. `pools`: each pool's function timeout in seconds. `more`: more environment variables."""

    def __init__(
        self,
        pools: Mapping[str, float] = DEFAULT_POOLS,
        *,
        more: Mapping[str, str] | None = None,
        handlers: Mapping[str, str] | None = None,
        database_url: str | None = None,
        batch: int = 1,
        concurrency: int = 2,
    ) -> None:
        self._pools, self._more, self._database_url = pools, dict(more or {}), database_url
        self._handlers = {"jobs": JOBS, "maintenance": MAINTENANCE, "migrate": MIGRATE} | dict(handlers or {})
        self._batch, self._concurrency = batch, concurrency
        self._stack = ExitStack()
        self._stopping = threading.Event()

    def __enter__(self) -> Self:
        install_emulator()
        with self._stack:
            self._open()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._stack.close()

    def _open(self) -> None:
        self.emulator = self._stack.enter_context(Emulator())
        self.folder = self.emulator.folder / "functions"
        self.folder.mkdir()
        if self._database_url is None:
            self._database_url = self._stack.enter_context(PostgresServer(durable=True)).url()
        self.clients = AwsClients(region=REGION, endpoint=self.emulator.url, credentials=CREDENTIALS)
        self.resources: CloudResources = create_resources(self.clients, self._pools, control_timeout=CONTROL_TIMEOUT)
        self.environment = self.resources.environment(self.emulator.url, self._database_url) | self._more
        self._invoke_once(self.function("migrate", CONTROL_TIMEOUT), {})
        self._start_sources()

    def _start_sources(self) -> None:
        resources = self.resources
        self.sources = {
            pool: self._source(queue, self.function("jobs", queue.timeout, pool))
            for pool, queue in resources.work.items()
        }
        control = self.function("maintenance", CONTROL_TIMEOUT)
        self.sources["control"] = self._source(resources.control, control)
        threading.Thread(target=self._sweep, args=(control,), daemon=True).start()

    def _source(self, queue: Queue, function: Function) -> EventSource:
        source = EventSource(self.clients, queue, function, batch=self._batch, concurrency=self._concurrency)
        source.start()
        self._stack.callback(source.stop)
        return source

    def function(self, name: str, timeout: float, pool: str = "") -> Function:
        title = f"engine-{name}-{pool}" if pool else f"engine-{name}"
        return Function(
            name=title,
            handler=self._handlers[name],
            timeout=timeout,
            environment=_inherited() | self.environment | {"AWS_LAMBDA_FUNCTION_NAME": title},
            log=self.folder / f"{title}.log",
        )

    @property
    def logs(self) -> str:
        return "".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("*.log")))

    def invoke(self, name: str, event: dict[str, Any]) -> Any:
        """Invokes a function directly, in a sandbox of its own. Raises `FunctionFailed`."""
        return self._invoke_once(self.function(name, CONTROL_TIMEOUT), event)

    def _invoke_once(self, function: Function, event: dict[str, Any]) -> Any:
        sandbox = Sandbox(function)
        try:
            return sandbox.invoke(event)
        except FunctionFailed as error:
            raise FunctionFailed(f"{error}\n{self.logs}") from error
        finally:
            sandbox.stop()

    def _sweep(self, function: Function) -> None:
        while not self._stopping.wait(SWEEP_SECONDS):
            self._invoke_once(function, schedule_event(datetime.now(UTC)))


def _inherited() -> dict[str, str]:
    """This process's environment without the variables of another deployment."""
    foreign = ("AWS_", "ENGINE_", "DATABASE_URL", "POWERTOOLS_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    chosen = {name: value for name, value in os.environ.items() if name in {"ENGINE_REGISTRY", "ENGINE_CODE"}}
    return kept | chosen | {"PYTHONPATH": os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])}
