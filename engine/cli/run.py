"""`engine run`: creates or resumes a run, and works on it to its end."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from engine.cli.cloud import run_in_cloud
from engine.cli.fake_ai import FakeAI, with_fake_ai
from engine.cli.formats import parse_duration
from engine.cli.input_values import refuse_for_stack, run_config, run_input
from engine.cli.invocation import Invocation, NoDatabaseYet
from engine.cli.printing import note, say, say_json
from engine.cli.working import see_through
from engine.domain.errors import InvalidInput
from engine.domain.lifecycle import OPEN, Status
from engine.domain.stored_value import Json
from engine.kernel.workflows import find_workflow
from engine.ports.transaction import RunFilter

if TYPE_CHECKING:
    from engine.bootstrap.embedded import Engine

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
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Work on it here, or leave it to a worker.")] = True,
    follow: Annotated[bool, typer.Option("--follow", help="A line for everything that happens.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was left unfinished.")] = False,
    cloud: Annotated[bool, typer.Option("--cloud", help="Through the real handlers, in a local cloud.")] = False,
    fake_ai: FakeAI = False,
    timeout: Annotated[str | None, typer.Option(help="Stop waiting after that time, such as 30s or 5m.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Whom the run belongs to.")] = None,
    priority: Annotated[int, typer.Option(help="Higher goes first.", min=0, max=1000)] = 5,
    idempotency_key: Annotated[str | None, typer.Option(help="The same key never starts a second run.")] = None,
) -> None:
    """Run a workflow and show its progress.

    Ctrl-C stops the work and keeps the run: `engine run --resume` continues it.
    """
    if ctx.obj.stack is not None:
        refuse_for_stack(resume=resume, cloud=cloud, fake_ai=fake_ai)
    invocation: Invocation = ctx.with_resource(with_fake_ai(ctx.obj, kept=not cloud)) if fake_ai else ctx.obj
    work = invocation.stack is None
    limit = None if timeout is None else parse_duration(timeout).total_seconds()
    if resume:
        _refuse_with_resume(given=given, config=config, idempotency_key=idempotency_key, wait=wait)
        raise typer.Exit(_resume(invocation, workflow, follow=follow, timeout=limit))
    command = {"tenant": tenant, "priority": priority, "idempotency_key": idempotency_key}
    command |= _checked(invocation, workflow, given, config)
    if cloud:
        raise typer.Exit(run_in_cloud(invocation, command, follow=follow, timeout=limit))
    with invocation.opened() as engine:
        engine.recover()
        created = engine.kernel.dispatch(command)
        if not wait and not follow:
            pools = find_workflow(str(command["workflow_id"]), engine.registry).pools
            _say_created(invocation, created.workflow_run_id, created.status, pools)
            return
        run_id = created.workflow_run_id
        code = see_through(invocation, engine, run_id, work=wait and work, lines=follow, timeout=limit)
    raise typer.Exit(code)


def _checked(invocation: Invocation, workflow_id: str | None, given: str | None, config: str | None) -> dict[str, Json]:
    """The command, validated as far as possible without a store."""
    registry = invocation.registry()
    if workflow_id is None:
        raise InvalidInput(f"name a workflow to run; there are: {', '.join(registry.list()) or 'none'}")
    workflow = find_workflow(workflow_id, registry)
    return {
        "type": "run.create",
        "workflow_id": workflow.id,
        "input": run_input(given, workflow, elsewhere=invocation.stack is not None),
        "config": run_config(config, workflow),
        "start": True,
    }


def _say_created(invocation: Invocation, run_id: str, status: Status, pools: Sequence[str]) -> None:
    if invocation.json:
        say_json({"run_id": run_id, "status": status})
        return
    say(run_id)
    worker = f"{invocation.command} worker" + ("" if pools == ("default",) else f" --pools {','.join(pools)}")
    taken = "" if invocation.stack else f"a worker will take it ({worker}); "
    note(f"{taken}see it with: {invocation.command} runs watch {run_id}")


def _resume(invocation: Invocation, wanted: str | None, *, follow: bool, timeout: float | None) -> int:
    with invocation.reading() as engine:
        run_id = _to_resume(engine, wanted)
        engine.recover()
        return see_through(invocation, engine, run_id, lines=follow, timeout=timeout)


def _to_resume(engine: "Engine", wanted: str | None) -> str:
    """The named run, or the newest unfinished run (of the workflow, if its id is given)."""
    reads = engine.kernel.reads
    if wanted is not None and wanted not in engine.registry.list():
        return reads.resolve(wanted)
    found = reads.runs(RunFilter(statuses=OPEN, workflow_id=wanted), 1).runs
    if not found:
        of_workflow = "" if wanted is None else f" of workflow {wanted!r}"
        raise NoDatabaseYet(f"no run{of_workflow} is unfinished, so there is nothing to go on with")
    return found[0].id


def _refuse_with_resume(*, given: str | None, config: str | None, idempotency_key: str | None, wait: bool) -> None:
    if given is not None or config is not None or idempotency_key is not None or not wait:
        raise InvalidInput(
            "--resume goes on with a run as it is; leave out --input, --config, --idempotency-key and --no-wait"
        )
