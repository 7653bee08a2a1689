"""The file by which other processes find a home's local cloud: it holds its environment and is locked."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from engine.adapters.aws.clients import AwsClients
from engine.adapters.local.worker_lock import WorkerLock, dead_workers
from engine.bootstrap.aws import AwsEngine, open_aws
from engine.bootstrap.client import KernelClient
from engine.domain.errors import StoreUnavailable
from engine.localcloud.cloud import DEFAULT_POOLS
from engine.ports.registry import Registry
from engine.settings import Settings, variable_of

NAME = "cloud"


@contextmanager
def announced(home: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """Announces the local cloud. Raises `StoreError` when another one runs for this home."""
    folder = home / NAME
    with WorkerLock(folder, NAME):
        path = folder / "environment.json"
        try:
            path.touch(0o600)
            path.write_text(json.dumps(dict(environment), indent=2))
            yield
        finally:
            path.unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


def running(home: Path) -> Mapping[str, str] | None:
    """The environment of this home's local cloud, if one runs."""
    folder = home / NAME
    try:
        environment: Mapping[str, str] = json.loads((folder / "environment.json").read_text())
    except (OSError, ValueError):
        return None
    with dead_workers(folder) as dead:
        return None if dead else environment


@contextmanager
def open_running(home: Path) -> Iterator[KernelClient]:
    """A client of a home's local cloud. Its database can be reached from here, so no function is invoked.

    Raises `StoreUnavailable` when none runs.
    """
    environment = running(home)
    if environment is None:
        raise StoreUnavailable(f"no local cloud runs for {str(home)!r}; start one with `engine dev --cloud`")
    with connect(environment) as engine:
        yield KernelClient(engine.kernel)


def connect(environment: Mapping[str, str]) -> AwsEngine:
    """An engine over a local cloud. Its settings come from `environment`, not from this process."""
    known = {variable_of(field) for field in Settings.model_fields}
    settings = Settings.from_env({name: value for name, value in environment.items() if name in known})
    clients = AwsClients(
        region=environment["AWS_REGION"], endpoint=environment["AWS_ENDPOINT_URL"], credentials=environment
    )
    return open_aws(settings, clients=clients)


def pools_of(registry: Registry) -> dict[str, float]:
    """The pools that stages name, each with the default timeout of its function."""
    workflows = [workflow for each in registry.list() if (workflow := registry.get_workflow(each))]
    named = {pool for workflow in workflows for pool in workflow.pools}
    return dict(DEFAULT_POOLS) | dict.fromkeys(sorted(named), DEFAULT_POOLS["default"])
