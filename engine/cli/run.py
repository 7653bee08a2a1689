"""`engine run`: creates or resumes a run, and works on it to its end."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError

from engine.cli.cloud import run_in_cloud
from engine.cli.formats import parse_duration
from engine.cli.input_values import run_config, run_input
from engine.cli.invocation import FakeAI, Invocation, NoDatabaseYet
from engine.cli.printing import note, say, say_json
from engine.cli.watching import see_through
from engine.domain.errors import InvalidInput
from engine.domain.lifecycle import ENDED_RUNS, RunStatus
from engine.kernel.commands import RunCreate
from engine.ports.registry import find_workflow
from engine.ports.transaction import RunFilter

if TYPE_CHECKING:
    from engine.bootstrap.embedded import Engine

UNFINISHED = frozenset(RunStatus) - ENDED_RUNS

app = typer.Typer(add_completion=False)


@app.command()
def run(
    ctx: typer.Context,
    workflow: Annotated[
        str | None, typer.Argument(help="The workflow; with --resume a run, or the newest unfinished one.")
    ] = None,
    *,
    given: Annotated[
        str | None, typer.Option("--input", help="JSON, a .json file, a file for the field `path`, or - for stdin.")
    ] = None,
    config: Annotated[str | None, typer.Option(help="Options by stage: JSON or a .json file.")] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Run it here, or leave it to a worker.")] = True,
    follow: Annotated[bool, typer.Option("--follow", help="Print a line for each log and event.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an unfinished run.")] = False,
    cloud: Annotated[
        bool, typer.Option("--cloud", help="Run it in a local cloud, through the Lambda handlers.")
    ] = False,
    fake_ai: FakeAI = False,
    timeout: Annotated[str | None, typer.Option(help="Stop waiting after that time, such as 30s or 5m.")] = None,
    tenant: Annotated[str | None, typer.Option(help="The tenant that the run belongs to.")] = None,
    priority: Annotated[int, typer.Option(help="Higher goes first.", min=0, max=1000)] = 5,
    idempotency_key: Annotated[str | None, typer.Option(help="The same key never starts a second run.")] = None,
) -> None:
    """Run a workflow and show its progress.

    Ctrl-C stops the work and keeps the run: `engine run --resume` continues it.
    """
    invocation: Invocation = ctx.obj
    invocation.refuse_with_stack(resume=resume, cloud=cloud, fake_ai=fake_ai)
    limit = None if timeout is None else parse_duration(timeout).total_seconds()
    if resume:
        _refuse_with_resume(given=given, config=config, idempotency_key=idempotency_key, wait=wait)
        if fake_ai:
            invocation = ctx.with_resource(invocation.with_fake_ai(kept=True, create=False))
        raise typer.Exit(_resume(invocation, workflow, follow=follow, timeout=limit))
    options = {"tenant": tenant, "priority": priority, "idempotency_key": idempotency_key}
    command = _command(invocation, workflow, given, config, options)
    if fake_ai:
        invocation = ctx.with_resource(invocation.with_fake_ai(kept=not cloud))
    if cloud:
        raise typer.Exit(run_in_cloud(invocation, command, follow=follow, timeout=limit))
    raise typer.Exit(_create(invocation, command, wait=wait, follow=follow, timeout=limit))


def _command(
    invocation: Invocation,
    workflow_id: str | None,
    given: str | None,
    config: str | None,
    options: dict[str, str | int | None],
) -> RunCreate:
    """The command, validated as far as possible without a store."""
    registry = invocation.registry()
    if workflow_id is None:
        raise InvalidInput(f"name a workflow to run; there are: {', '.join(registry.list()) or 'none'}")
    workflow = find_workflow(workflow_id, registry)
    value = run_input(given, workflow, elsewhere=invocation.stack is not None)
    stages = run_config(config, workflow)
    try:
        return RunCreate.model_validate(
            {"workflow_id": workflow.id, "input": value, "config": stages, "start": True, **options}
        )
    except ValidationError as error:
        problems = [f"--{'.'.join(map(str, each['loc'])).replace('_', '-')}: {each['msg']}" for each in error.errors()]
        raise InvalidInput("an option has a value that cannot be used", problems) from error


def _create(invocation: Invocation, command: RunCreate, *, wait: bool, follow: bool, timeout: float | None) -> int:
    with invocation.client_and_engine(create=True) as (client, engine):
        if engine is not None:
            engine.recover()
        created = client.dispatch(command)
        if not wait and not follow:
            pools = find_workflow(command.workflow_id, client.registry).pools
            _say_created(invocation, created.workflow_run_id, created.status, pools)
            return 0
        worker = engine if wait else None
        return see_through(invocation, client, created.workflow_run_id, worker=worker, lines=follow, timeout=timeout)


def _say_created(invocation: Invocation, run_id: str, status: RunStatus, pools: Sequence[str]) -> None:
    if invocation.json:
        say_json({"run_id": run_id, "status": status})
        return
    say(run_id)
    worker = f"{invocation.command} worker" + ("" if pools == ("default",) else f" --pools {','.join(pools)}")
    taken = "" if invocation.stack else f"a worker will take it ({worker}); "
    note(f"{taken}see it with: {invocation.command} runs watch {run_id}")


def _resume(invocation: Invocation, wanted: str | None, *, follow: bool, timeout: float | None) -> int:
    with invocation.client_and_engine() as (client, engine):
        assert engine is not None, "--resume was refused with --stack"
        run_id = _to_resume(engine, wanted)
        engine.recover()
        return see_through(invocation, client, run_id, worker=engine, lines=follow, timeout=timeout)


def _to_resume(engine: "Engine", wanted: str | None) -> str:
    """The named run, or the newest unfinished run (of the workflow, if its id is given)."""
    reads = engine.kernel.reads
    if wanted is not None and wanted not in engine.registry.list():
        return reads.resolve(wanted)
    found = reads.runs(RunFilter(statuses=UNFINISHED, workflow_id=wanted), 1).runs
    if not found:
        of_workflow = "" if wanted is None else f" of workflow {wanted!r}"
        raise NoDatabaseYet(f"no run{of_workflow} is unfinished, so there is nothing to resume")
    return found[0].id


def _refuse_with_resume(*, given: str | None, config: str | None, idempotency_key: str | None, wait: bool) -> None:
    if given is not None or config is not None or idempotency_key is not None or not wait:
        raise InvalidInput(
            "--resume continues a run as it is; leave out --input, --config, --idempotency-key and --no-wait"
        )
