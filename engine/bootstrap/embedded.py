"""The embedded profile: SQLite or another database, and files, with workers on this machine."""

import os
from datetime import timedelta
from functools import partial
from types import TracebackType
from typing import Self

from engine.adapters.files.blob_store import FileBlobStore
from engine.adapters.local.in_process import InProcessJobTransport, InProcessTimers
from engine.adapters.local.logging_sink import LoggingSink
from engine.adapters.local.worker_lock import WorkerLock, dead_workers
from engine.adapters.sql.persistence import SqlPersistence
from engine.adapters.system import SystemClock, SystemIds
from engine.bootstrap.models import stage_ai
from engine.bootstrap.registry import load_registry
from engine.domain.errors import EngineError, StoreError
from engine.execution.executors import LocalExecutor
from engine.hosts.options import DEFAULTS, HostOptions
from engine.hosts.worker import WorkerHost
from engine.kernel.host_commands import LeaseRelease
from engine.kernel.kernel import Kernel
from engine.kernel.pruning import Pruned, prune
from engine.ports.deps import Deps
from engine.ports.event_sink import EventSink
from engine.ports.job_transport import JobTransport
from engine.ports.scheduler import Scheduler
from engine.settings import Settings


def build_kernel(
    settings: Settings, job_transport: JobTransport, scheduler: Scheduler, *, event_sink: EventSink | None = None
) -> Kernel:
    """Builds a kernel over the stores that the settings name. Child processes call it too."""
    persistence, registry, ids = SqlPersistence(settings.store_url), load_registry(settings), SystemIds()
    return Kernel(
        Deps(
            persistence=persistence,
            blob_store=FileBlobStore(settings.blobs),
            job_transport=job_transport,
            event_sink=event_sink or LoggingSink(),
            scheduler=scheduler,
            clock=SystemClock(),
            registry=registry,
            executor=LocalExecutor(),
            ids=ids,
            ai_for=stage_ai(settings, persistence, registry, ids),
            inline_max=settings.inline_output_max_bytes,
        )
    )


FIRST_PATIENCE = 5.0
"""Seconds that a database has for its first answer."""


class Engine:
    """An open engine: a kernel with its stores, and workers in this process."""

    def __init__(self, settings: Settings, *, event_sink: EventSink | None = None) -> None:
        self.settings = settings
        self.notifications, self._timers = InProcessJobTransport(), InProcessTimers()
        self.kernel = build_kernel(settings, self.notifications, self._timers, event_sink=event_sink)
        self.registry = self.kernel.deps.registry

    def worker(
        self,
        *,
        slots: int = 1,
        run_id: str | None = None,
        in_process: bool = True,
        pools: tuple[str, ...] = ("default",),
        options: HostOptions = DEFAULTS,
    ) -> WorkerHost:
        """A host, not started. With `in_process` its slots are threads, otherwise child processes."""
        return WorkerHost(
            self.kernel,
            notifications=self.notifications,
            timers=self._timers,
            slots=slots,
            pools=pools,
            run_id=run_id,
            options=options,
            factory=None if in_process else partial(build_kernel, self.settings),
            locks=partial(WorkerLock, self.settings.worker_locks),
            recover=self.recover,
        )

    def recover(self) -> int:
        """Releases the leases of dead workers on this machine. Gives their number."""
        with dead_workers(self.settings.worker_locks) as dead:
            return self.kernel.dispatch(LeaseRelease(worker_ids=tuple(dead))) if dead else 0

    def prune(self, older_than: timedelta) -> Pruned:
        return prune(self.kernel.deps, older_than, lease=timedelta(seconds=DEFAULTS.lease))

    def close(self) -> None:
        self.kernel.deps.persistence.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_engine(settings: Settings, *, event_sink: EventSink | None = None, reading: bool = False) -> Engine:
    """Opens the stores. `reading` creates no home, and accepts one that cannot be written to.

    Raises `SettingsError`, `StoreBehind`, `StoreUnavailable`, or `StoreError` for a folder without write access.
    """
    if settings.database_url is not None:
        _check_reachable(settings.database_url)
    if not reading:
        prepare_home(settings)
    engine = Engine(settings, event_sink=event_sink)
    try:
        engine.kernel.deps.persistence.read(lambda tx: tx.now())
    except EngineError:
        engine.close()
        raise
    return engine


def _check_reachable(url: str) -> None:
    """Raises within seconds when the database does not answer. Running workers wait longer."""
    persistence = SqlPersistence(url, patience=FIRST_PATIENCE, connect_timeout=FIRST_PATIENCE)
    try:
        persistence.read(lambda tx: tx.now())
    finally:
        persistence.close()


def prepare_home(settings: Settings) -> None:
    home = settings.home
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"cannot create the folder {str(home)!r} ({error.strerror}); choose another with --home or ENGINE_HOME"
        ) from error
    if not os.access(home, os.W_OK):
        raise StoreError(f"cannot write to the folder {str(home)!r}; choose another with --home or ENGINE_HOME")
