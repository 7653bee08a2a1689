"""The local cloud of `engine dev --cloud` and `engine run --cloud`, and running a workflow in it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from engine.cli.exit_codes import OF_STATUS, ExitCode
from engine.cli.following import Follower
from engine.cli.formats import counted
from engine.cli.interruption import Interruption
from engine.cli.invocation import LOCAL, Invocation
from engine.cli.printing import note
from engine.cli.run_report import report_run
from engine.cli.views import view_for
from engine.cli.watching import StopReason, watch
from engine.domain.blob_keys import run_prefix
from engine.domain.errors import RefusedError
from engine.domain.lifecycle import ENDED_RUNS
from engine.kernel.commands import RunCreate

if TYPE_CHECKING:
    from engine.bootstrap.aws import AwsEngine
    from engine.localcloud.cloud import LocalCloud

FLUSH_SECONDS = 10.0


@contextmanager
def local_cloud(invocation: Invocation) -> Iterator["LocalCloud"]:
    """A fresh local cloud, announced for the invocation's home. Its functions call the invocation's models."""
    from engine.localcloud.cloud import LocalCloud  # noqa: PLC0415 - brings boto3 and the database libraries
    from engine.localcloud.running import announced, pools_of, running  # noqa: PLC0415 - brings them too

    settings = invocation.settings()
    if running(settings.home):
        raise RefusedError(f"a local cloud runs for {str(settings.home)!r} already; stop it, or choose another --home")
    note("starting a local cloud: emulated AWS, PostgreSQL, the real handlers (about ten seconds)")
    code = {"ENGINE_REGISTRY": settings.registry, "ENGINE_CODE": str(settings.code.resolve())}
    models = {"ENGINE_AI_BASE_URL": settings.ai_base_url, "ENGINE_AI_API_KEY": settings.ai_api_key}
    more = code | {name: value for name, value in models.items() if value is not None}
    with LocalCloud(pools_of(invocation.registry()), more=more) as cloud, announced(settings.home, cloud.environment):
        yield cloud


def run_in_cloud(invocation: Invocation, command: RunCreate, *, follow: bool, timeout: float | None) -> int:
    """Creates the run in the home's local cloud, or in a temporary one. Gives the exit code."""
    with _connected(invocation) as (engine, stays):
        run_id = engine.kernel.dispatch(command).workflow_run_id
        view = view_for(as_json=invocation.json, lines=follow)
        with Interruption() as interruption:
            workflow = engine.registry.get_workflow(command.workflow_id)
            follower = Follower(engine.kernel.reads, run_id, workflow)
            stopped = watch(follower, view, interruption, timeout, every=invocation.look_every)
            there = replace(invocation, stack=LOCAL)
            status = report_run(there, engine.kernel.reads, run_id, hints=stays)
            _say_where(engine, run_id)
            if not stays:
                note(
                    "this local cloud ends now; `engine dev --cloud` starts one that stays, for use with --stack local"
                )
        if status in ENDED_RUNS:
            return OF_STATUS[status]
        note("the run had not ended")
        return ExitCode.TIMEOUT if stopped is StopReason.TIMEOUT else interruption.exit_code


@contextmanager
def _connected(invocation: Invocation) -> Iterator[tuple["AwsEngine", bool]]:
    """An engine over the home's local cloud, and True when the cloud outlives the run."""
    from engine.localcloud.running import connect, running  # noqa: PLC0415 - brings boto3 and the database libraries

    if environment := running(invocation.settings().home):
        if invocation.ai_base_url is not None:
            raise RefusedError(
                "the running local cloud has its own models; leave out --fake-ai, or restart the cloud with "
                "`engine dev --cloud --fake-ai`"
            )
        with connect(environment) as engine:
            yield engine, True
        return
    with Interruption(), local_cloud(invocation) as cloud, connect(cloud.environment) as engine:
        yield engine, False


def _say_where(engine: "AwsEngine", run_id: str) -> None:
    """Waits for the last events: the invocation that ended the run publishes them shortly after."""
    reads, end = engine.kernel.reads, time.monotonic() + FLUSH_SECONDS
    run = reads.run(run_id).run
    events = reads.events(run_id)
    while run.completed_at and time.monotonic() < end and not all(each.published_at for each in events):
        time.sleep(0.05)
        events = reads.events(run_id)
    published = sum(each.published_at is not None for each in events)
    blobs = sum(1 for _ in engine.kernel.deps.blob_store.list(run_prefix(run)))
    settings = engine.settings
    there = f"{counted(published, 'event')} on the bus {settings.event_bus}"
    note(f"in the cloud: {there}, {counted(blobs, 'blob')} in s3://{settings.bucket}")
