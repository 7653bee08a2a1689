"""`engine runs`: shows and changes runs."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.cli import run_facts
from engine.cli.documents import MOST_ANNOTATIONS, export_document, run_document, run_summary
from engine.cli.exit_codes import ExitCode
from engine.cli.following import Follower
from engine.cli.formats import parse_age, parse_duration
from engine.cli.input_values import stage_input
from engine.cli.invocation import FakeAI, Invocation, NoDatabaseYet
from engine.cli.printing import note, say, say_json
from engine.cli.run_cost import say_cost
from engine.cli.run_report import say_run, say_runs
from engine.cli.watching import see_through
from engine.domain.errors import InvalidInput, RefusedError
from engine.domain.lifecycle import RunStatus
from engine.kernel.commands import RunCancel, RunRerunFrom
from engine.ports.reads import Page
from engine.ports.transaction import AnnotationFilter, RunFilter

if TYPE_CHECKING:
    from engine.bootstrap.client import Client

app = typer.Typer(no_args_is_help=True, add_completion=False, help="List, show, watch, cancel, rerun and export runs.")

RunId = Annotated[str, typer.Argument(metavar="RUN", help="A run id, or the beginning of one.")]
Timeout = Annotated[str | None, typer.Option(help="Stop waiting after that time, such as 30s or 5m.")]


@app.command("list")
def list_runs(
    ctx: typer.Context,
    *,
    status: Annotated[
        list[RunStatus] | None, typer.Option(case_sensitive=False, help="Only these; repeatable.")
    ] = None,
    workflow: Annotated[str | None, typer.Option(help="Only runs of this workflow.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Only runs of this tenant.")] = None,
    since: Annotated[str | None, typer.Option(help="Only runs at most this old, such as 2h or 7d.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="The maximum number.")] = 20,
    before: Annotated[str | None, typer.Option(help="Only runs older than this one: the next page.")] = None,
) -> None:
    """List runs, newest first."""
    invocation: Invocation = ctx.obj
    created_since = None if since is None else datetime.now(UTC) - parse_age(since)
    try:
        with invocation.client() as client:
            reads = client.reads
            where = RunFilter(
                statuses=frozenset(status or ()),
                workflow_id=workflow,
                tenant=tenant,
                created_since=created_since,
                before=None if before is None else reads.resolve(before),
            )
            page = reads.runs(where, limit)
    except NoDatabaseYet:
        page = Page((), None)
    if invocation.json:
        say_json({"runs": [run_summary(run) for run in page.runs], "next": page.cursor})
    else:
        say_runs(page)


@app.command()
def show(ctx: typer.Context, run: RunId) -> None:
    """Show one run: its stages, output, artifacts and error."""
    invocation: Invocation = ctx.obj
    with invocation.client() as client:
        reads = client.reads
        view = reads.run(reads.resolve(run))
        if invocation.json:
            say_json({**run_document(reads, view), "input": reads.value(view.run.input), "config": view.run.config})
        else:
            say_run(reads, view)


@app.command()
def watch(ctx: typer.Context, run: RunId, *, timeout: Timeout = None) -> None:
    """Show the progress of a run until it ends. Another process works on it."""
    invocation: Invocation = ctx.obj
    limit = None if timeout is None else parse_duration(timeout).total_seconds()
    with invocation.client() as client:
        run_id = client.reads.resolve(run)
        code = see_through(invocation, client, run_id, worker=None, timeout=limit)
    raise typer.Exit(code)


@app.command()
def logs(
    ctx: typer.Context,
    run: RunId,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Continue until the run ends.")] = False,
    stage: Annotated[str | None, typer.Option(help="Only lines of this stage.")] = None,
) -> None:
    """Print what the stages logged."""
    invocation: Invocation = ctx.obj
    with invocation.client() as client:
        reads = client.reads
        again = invocation.look_every if follow else None
        run_facts.say_logs(reads, reads.resolve(run), stage_id=stage, follow=again, json=invocation.json)


@app.command()
def events(ctx: typer.Context, run: RunId) -> None:
    """Print the events of a run in order."""
    invocation: Invocation = ctx.obj
    with invocation.client() as client:
        reads = client.reads
        run_facts.say_events(reads, reads.resolve(run), json=invocation.json)


@app.command()
def annotations(
    ctx: typer.Context,
    run: RunId,
    *,
    key: Annotated[str | None, typer.Option(help="Only keys with this prefix, such as decision.")] = None,
) -> None:
    """Print the annotations of a run and its stages."""
    invocation: Invocation = ctx.obj
    with invocation.client() as client:
        run_id = client.reads.resolve(run)
        where = AnnotationFilter(key_prefix=key, limit=MOST_ANNOTATIONS)
        found = client.reads.annotations(run_id, where)
        run_facts.say_annotations(found, json=invocation.json)


@app.command()
def artifacts(
    ctx: typer.Context,
    run: RunId,
    *,
    save: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Save the files there, in a folder for each stage.")
    ] = None,
) -> None:
    """List the artifacts of a run, and save them."""
    invocation: Invocation = ctx.obj
    if save is not None:
        _save(invocation, run, save)
        return
    with invocation.client() as client:
        found = client.reads.artifacts(client.reads.resolve(run))
    run_facts.say_artifacts(found, json=invocation.json)


def _save(invocation: Invocation, run: str, folder: Path) -> None:
    if invocation.stack is not None:
        listing = f"{invocation.command} runs artifacts {run}"
        raise RefusedError(f"artifacts of a stack stay in its bucket; read them there, by the keys of `{listing}`")
    with invocation.engine() as engine:
        reads = engine.kernel.reads
        run_facts.save_artifacts(reads, reads.artifacts(reads.resolve(run)), folder, json=invocation.json)


@app.command()
def cost(ctx: typer.Context, run: RunId) -> None:
    """Show the cost of a run's model calls: by stage and generation, and by model."""
    invocation: Invocation = ctx.obj
    with invocation.client() as client:
        reads = client.reads
        run_id = reads.resolve(run)
        say_cost(reads.run(run_id), reads.call_totals(run_id), json=invocation.json)


@app.command()
def cancel(
    ctx: typer.Context,
    run: RunId,
    *,
    reason: Annotated[str | None, typer.Option(help="Stored with the cancellation.")] = None,
) -> None:
    """Cancel a run and everything open in it."""
    invocation: Invocation = ctx.obj
    with invocation.client() as client:
        run_id = client.reads.resolve(run)
        done = client.dispatch(RunCancel(workflow_run_id=run_id, reason=reason)).cancelled
        status = client.reads.run(run_id).run.status
    if invocation.json:
        say_json({"run_id": run_id, "cancelled": done, "status": status})
    elif done:
        say(f"cancelled {run_id}")
    if not done:
        note(f"error: run {run_id} has ended already; it is {status}")
        raise typer.Exit(ExitCode.FAILED)


@app.command()
def rerun(
    ctx: typer.Context,
    run: RunId,
    *,
    stage: Annotated[str, typer.Option("--from", metavar="STAGE", help="The first stage to run again.")],
    given: Annotated[
        str | None, typer.Option("--input", help="Another input for that stage: JSON or a .json file.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Run it here, or leave it to a worker.")] = True,
    follow: Annotated[bool, typer.Option("--follow", help="Print a line for each log and event.")] = False,
    fake_ai: FakeAI = False,
    timeout: Timeout = None,
) -> None:
    """Run a finished run again from a stage on."""
    invocation: Invocation = ctx.obj
    invocation.refuse_with_stack(fake_ai=fake_ai)
    if fake_ai:
        invocation = ctx.with_resource(invocation.with_fake_ai(kept=True, create=False))
    limit = None if timeout is None else parse_duration(timeout).total_seconds()
    override = None if given is None else stage_input(given)
    with invocation.client_and_engine() as (client, engine):
        reads = client.reads
        run_id = reads.resolve(run)
        command = RunRerunFrom(workflow_run_id=run_id, from_stage_id=stage, input_override=override)
        if not wait and not follow:
            _rerun(client, command)
            say_json({"run_id": run_id, "status": RunStatus.RUNNING}) if invocation.json else say(run_id)
            return
        follower = Follower(reads, run_id, client.registry.get_workflow(reads.run(run_id).run.workflow_id))
        follower.look()
        _rerun(client, command)
        worker = engine if wait else None
        code = see_through(invocation, client, run_id, worker=worker, lines=follow, timeout=limit, follower=follower)
    raise typer.Exit(code)


def _rerun(client: "Client", command: RunRerunFrom) -> None:
    """Replaces the command's field by the option's name in an error."""
    try:
        client.dispatch(command)
    except InvalidInput as error:
        if not str(error).startswith("input_override"):
            raise
        raise InvalidInput(str(error).replace("input_override", "--input", 1)) from error


@app.command()
def export(ctx: typer.Context, run: RunId) -> None:
    """Print everything stored of a run as one JSON document."""
    invocation: Invocation = ctx.obj
    with invocation.client() as client:
        reads = client.reads
        view = reads.run(reads.resolve(run))
        say_json(export_document(reads, view))
