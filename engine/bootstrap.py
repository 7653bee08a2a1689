"""The composition root: from settings to a working engine. The only module that picks adapters."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from engine.adapters.files.blob_store import FileBlobStore
from engine.adapters.local.logging_sink import LoggingSink
from engine.adapters.local.timers import InProcessTimers
from engine.adapters.local.worker_lock import WorkerLock, dead_workers, forget
from engine.adapters.sql.persistence import SqlPersistence
from engine.adapters.system import SystemClock, SystemIds
from engine.definition.workflow import Workflow
from engine.domain.errors import EngineError, SettingsError, StoreError
from engine.executors.local import LocalExecutor
from engine.hosts.options import DEFAULTS
from engine.hosts.worker import WorkerHost
from engine.kernel.deliveries import LeaseRelease
from engine.kernel.deps import Deps
from engine.kernel.doorbells import InProcessDoorbells
from engine.kernel.kernel import Kernel
from engine.kernel.pruning import Pruned, prune
from engine.ports.event_sink import EventSink
from engine.ports.job_transport import JobTransport
from engine.ports.scheduler import Scheduler
from engine.settings import Settings


class WorkflowRegistry:
    """Workflows by id, each imported when it is first asked for."""

    def __init__(self, targets: Mapping[str, str]) -> None:
        self._targets = dict(targets)
        self._loaded: dict[str, Workflow[Any, Any]] = {}

    def get_workflow(self, workflow_id: str) -> Workflow[Any, Any] | None:
        if workflow_id not in self._loaded and workflow_id in self._targets:
            self._loaded[workflow_id] = _workflow(workflow_id, self._targets[workflow_id])
        return self._loaded.get(workflow_id)

    def list(self) -> Sequence[str]:
        return tuple(sorted(self._targets))


def _workflow(workflow_id: str, target: str) -> Workflow[Any, Any]:
    workflow = _attribute(target, f"workflow {workflow_id!r}")
    if not isinstance(workflow, Workflow):
        raise SettingsError(f"workflow {workflow_id!r}: {target} is no workflow; end its definition with .build()")
    if workflow.id != workflow_id:
        raise SettingsError(f"workflow {workflow_id!r}: {target} has the id {workflow.id!r}; use one id for both")
    return workflow


def load_registry(settings: Settings) -> WorkflowRegistry:
    """The registry that `ENGINE_REGISTRY` names. Raises `SettingsError` when it cannot be imported or is no mapping."""
    code = str(settings.code.resolve())
    if code not in sys.path:
        sys.path.insert(0, code)
    targets = _attribute(settings.registry, "ENGINE_REGISTRY")
    if not isinstance(targets, Mapping):
        raise SettingsError(
            f"ENGINE_REGISTRY: {settings.registry} is a {type(targets).__name__}; it must map workflow ids to "
            '"module:attribute"'
        )
    return WorkflowRegistry(targets)


def _attribute(target: str, what: str) -> object:
    module, _, attribute = target.partition(":")
    try:
        found: object = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise SettingsError(f"{what}: {target} cannot be imported ({error}); is it on the Python path?") from error
    except AttributeError as error:
        raise SettingsError(f"{what}: module {module} has no {attribute!r}") from error
    return found


def build_kernel(
    settings: Settings, job_transport: JobTransport, scheduler: Scheduler, *, event_sink: EventSink | None = None
) -> Kernel:
    """A kernel over the stores that settings name. Child processes build their own by this."""
    return Kernel(
        Deps(
            persistence=SqlPersistence(settings.store_url),
            blob_store=FileBlobStore(settings.blobs),
            job_transport=job_transport,
            event_sink=event_sink or LoggingSink(),
            scheduler=scheduler,
            clock=SystemClock(),
            registry=load_registry(settings),
            executor=LocalExecutor(),
            ids=SystemIds(),
            inline_max=settings.inline_output_max_bytes,
        )
    )


class Engine:
    """An open engine: a kernel with its stores, and the means to work in this process."""

    def __init__(self, settings: Settings, *, event_sink: EventSink | None = None) -> None:
        self.settings = settings
        self.doorbells, self._timers = InProcessDoorbells(), InProcessTimers()
        self.kernel = build_kernel(settings, self.doorbells, self._timers, event_sink=event_sink)
        self.registry = self.kernel.deps.registry

    def worker(
        self,
        *,
        slots: int = 1,
        run_id: str | None = None,
        in_process: bool = True,
        pools: tuple[str, ...] = ("default",),
    ) -> WorkerHost:
        """A host that is not started yet. With `in_process` its slots are threads, otherwise child processes."""
        return WorkerHost(
            self.kernel,
            doorbells=self.doorbells,
            timers=self._timers,
            slots=slots,
            pools=pools,
            run_id=run_id,
            factory=None if in_process else partial(build_kernel, self.settings),
            locks=partial(WorkerLock, self.settings.worker_locks),
        )

    def recover(self) -> int:
        """Takes back at once what dead workers of this machine held. Gives how many jobs that were."""
        dead = dead_workers(self.settings.worker_locks)
        released = self.kernel.dispatch(LeaseRelease(worker_ids=tuple(dead)))
        for worker_id in dead:
            forget(self.settings.worker_locks, worker_id)
        return released

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


def open_engine(settings: Settings, *, event_sink: EventSink | None = None) -> Engine:
    """Opens the stores. Raises `SettingsError`, `StoreBehind`, `StoreUnavailable`, or `StoreError` for a folder that
    cannot be written."""
    _prepare_home(settings)
    engine = Engine(settings, event_sink=event_sink)
    engine.kernel.deps.persistence.read(lambda tx: tx.now())
    return engine


def _prepare_home(settings: Settings) -> None:
    home = settings.home
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"cannot create the folder {str(home)!r} ({error.strerror}); choose another with --home or ENGINE_HOME"
        ) from error
    if not os.access(home, os.W_OK):
        raise StoreError(f"cannot write to the folder {str(home)!r}; choose another with --home or ENGINE_HOME")


def migrate(settings: Settings) -> str:
    """Brings the database to this code's schema, in one transaction. Gives its revision then."""
    from engine.adapters.sql.migrate import migrate as apply_migrations  # noqa: PLC0415 — Alembic is slow to import

    if settings.database_url is None:
        _prepare_home(settings)
    return apply_migrations(settings.store_url)


def migration_sql(settings: Settings) -> str:
    """What `migrate` would execute on an empty database, as SQL."""
    from engine.adapters.sql.migrate import migration_sql as as_sql  # noqa: PLC0415 — Alembic is slow to import

    return as_sql(settings.store_url)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing `engine doctor` looked at."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""


def diagnose(settings: Settings) -> Sequence[Check]:
    """Looks at everything the engine needs, and does not stop at the first fault."""
    return [_check_python(), _check_home(settings.home), _check_registry(settings), _check_store(settings)]


def _check_python() -> Check:
    return Check(name="python", ok=True, detail=sys.version.split()[0])


def _check_home(home: Path) -> Check:
    nearest = next(folder for folder in (home, *home.resolve().parents) if folder.exists())
    ok = os.access(nearest, os.W_OK)
    return Check(
        name="home", ok=ok, detail=str(home), remedy="" if ok else "choose a writable folder with --home or ENGINE_HOME"
    )


def _check_registry(settings: Settings) -> Check:
    try:
        registry = load_registry(settings)
        for workflow_id in registry.list():
            registry.get_workflow(workflow_id)
    except (EngineError, ImportError) as error:
        return Check(name="registry", ok=False, detail=str(error), remedy="correct ENGINE_REGISTRY or the workflow")
    return Check(name="registry", ok=True, detail=f"{settings.registry}: {', '.join(registry.list()) or 'empty'}")


def _check_store(settings: Settings) -> Check:
    if settings.database_url is None and not (settings.home / "engine.db").exists():
        return Check(name="database", ok=True, detail="the embedded database will be created by the first run")
    persistence = SqlPersistence(settings.store_url, patience=3.0, connect_timeout=3.0)
    try:
        persistence.read(lambda tx: tx.now())
    except EngineError as error:
        return Check(name="database", ok=False, detail=str(error), remedy="run `engine migrate`, or see DATABASE_URL")
    finally:
        persistence.close()
    return Check(name="database", ok=True, detail="reachable and up to date")
