"""`engine runs`: shows and changes runs."""

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.cli import run_facts
from engine.cli.documents import export_document, run_document, run_summary
from engine.cli.exit_codes import ExitCode
from engine.cli.fake_ai import FakeAI, with_fake_ai
from engine.cli.following import Follower
from engine.cli.formats import parse_duration
from engine.cli.input_values import refuse_for_stack, stage_input
from engine.cli.invocation import Invocation, NoDatabaseYet
from engine.cli.printing import note, say, say_json
from engine.cli.run_cost import say_cost
from engine.cli.run_details import say_run, say_runs
from engine.cli.working import see_through
from engine.domain.errors import InvalidInput
from engine.domain.lifecycle import Status
from engine.kernel.commands import RunCancel, RunRerunFrom
from engine.ports.transaction import RunFilter
from engine.reading.reads import Page

if TYPE_CHECKING:
    from engine.bootstrap.embedded import Engine

app = typer.Typer(no_args_is_help=True, add_completion=False, help="List, show, watch, cancel, rerun and export runs.")

RunId = Annotated[str, typer.Argument(metavar="RUN", help="A run id, or the beginning of one.")]
Timeout = Annotated[str | None, typer.Option(help="Stop waiting after that time, such as 30s or 5m.")]


class RunStatus(StrEnum):
    """The states of a run. A run with a suspended stage is RUNNING."""

    PENDING = Status.PENDING
    RUNNING = Status.RUNNING
    COMPLETED = Status.COMPLETED
    FAILED = Status.FAILED
    CANCELLED = Status.CANCELLED


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
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 20,
    before: Annotated[str | None, typer.Option(help="Only runs older than this one: the next page.")] = None,
) -> None:
    """List runs, newest first."""
    invocation: Invocation = ctx.obj
    created_since = None if since is None else datetime.now(UTC) - parse_duration(since)
    try:
        with invocation.reading() as engine:
            reads = engine.kernel.reads
            where = RunFilter(
                statuses=frozenset(Status(each) for each in status or ()),
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
    with invocation.reading() as engine:
        reads = engine.kernel.reads
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
    with invocation.reading() as engine:
        run_id = engine.kernel.reads.resolve(run)
        code = see_through(invocation, engine, run_id, work=False, timeout=limit)
    raise typer.Exit(code)


@app.command()
def logs(
    ctx: typer.Context,
    run: RunId,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run ends.")] = False,
    stage: Annotated[str | None, typer.Option(help="Only lines of this stage.")] = None,
) -> None:
    """Print what the stages logged."""
    invocation: Invocation = ctx.obj
    with invocation.reading() as engine:
        reads = engine.kernel.reads
        again = invocation.look_every if follow else None
        run_facts.say_logs(reads, reads.resolve(run), stage_id=stage, follow=again, json=invocation.json)


@app.command()
def events(ctx: typer.Context, run: RunId) -> None:
    """Print the events of a run in order."""
    invocation: Invocation = ctx.obj
    with invocation.reading() as engine:
        reads = engine.kernel.reads
        run_facts.say_events(reads, reads.resolve(run), json=invocation.json)


@app.command()
def annotations(
    ctx: typer.Context,
    run: RunId,
    *,
    key: Annotated[str | None, typer.Option(help="Only keys that begin so, such as decision.")] = None,
) -> None:
    """Print the annotations of a run and its stages."""
    invocation: Invocation = ctx.obj
    with invocation.reading() as engine:
        run_id = engine.kernel.reads.resolve(run)
        found = engine.kernel.annotations.list(run_id, key_prefix=key, limit=run_facts.MOST_ANNOTATIONS)
        run_facts.say_annotations(found, json=invocation.json)


@app.command()
def artifacts(
    ctx: typer.Context,
    run: RunId,
    *,
    save: Annotated[Path | None, typer.Option(metavar="DIR", help="Write them there, a folder for each stage.")] = None,
) -> None:
    """List the artifacts of a run, and save them."""
    invocation: Invocation = ctx.obj
    with invocation.reading() as engine:
        reads = engine.kernel.reads
        found = reads.artifacts(reads.resolve(run))
        if save is None:
            run_facts.say_artifacts(found, json=invocation.json)
        else:
            run_facts.save_artifacts(reads, found, save, json=invocation.json)


@app.command()
def cost(ctx: typer.Context, run: RunId) -> None:
    """Show the cost of a run's model calls: by stage and generation, and by model."""
    invocation: Invocation = ctx.obj
    with invocation.reading() as engine:
        reads = engine.kernel.reads
        run_id = reads.resolve(run)
        say_cost(reads.run(run_id), reads.call_totals(run_id), json=invocation.json)


@app.command()
def cancel(
    ctx: typer.Context,
    run: RunId,
    *,
    reason: Annotated[str | None, typer.Option(help="Kept with the event.")] = None,
) -> None:
    """Cancel a run and everything open in it."""
    invocation: Invocation = ctx.obj
    with invocation.reading() as engine:
        run_id = engine.kernel.reads.resolve(run)
        done = engine.kernel.dispatch(RunCancel(workflow_run_id=run_id, reason=reason)).cancelled
        status = engine.kernel.reads.run(run_id).run.status
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
    given: Annotated[str | None, typer.Option("--input", help="Another input for that stage: JSON or a file.")] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Work on it here, or leave it to a worker.")] = True,
    follow: Annotated[bool, typer.Option("--follow", help="A line for everything that happens.")] = False,
    fake_ai: FakeAI = False,
    timeout: Timeout = None,
) -> None:
    """Run a finished run again from a stage on."""
    if ctx.obj.stack is not None:
        refuse_for_stack(fake_ai=fake_ai)
    invocation: Invocation = ctx.with_resource(with_fake_ai(ctx.obj, kept=True)) if fake_ai else ctx.obj
    limit = None if timeout is None else parse_duration(timeout).total_seconds()
    override = None if given is None else stage_input(given)
    watched = wait or follow
    with invocation.reading() as engine:
        reads = engine.kernel.reads
        run_id = reads.resolve(run)
        follower = Follower(reads, run_id, engine.registry.get_workflow(reads.run(run_id).run.workflow_id))
        if watched:
            follower.look()
        _rerun(engine, RunRerunFrom(workflow_run_id=run_id, from_stage_id=stage, input_override=override))
        if not watched:
            say_json({"run_id": run_id, "status": Status.RUNNING}) if invocation.json else say(run_id)
            return
        work = wait and invocation.stack is None
        code = see_through(invocation, engine, run_id, work=work, lines=follow, timeout=limit, follower=follower)
    raise typer.Exit(code)


def _rerun(engine: "Engine", command: RunRerunFrom) -> None:
    """Replaces the command's field by the option's name in an error."""
    try:
        engine.kernel.dispatch(command)
    except InvalidInput as error:
        if not str(error).startswith("input_override"):
            raise
        raise InvalidInput(str(error).replace("input_override", "--input", 1)) from error


@app.command()
def export(ctx: typer.Context, run: RunId) -> None:
    """Print everything stored of a run as one JSON document."""
    invocation: Invocation = ctx.obj
    with invocation.reading() as engine:
        reads = engine.kernel.reads
        view = reads.run(reads.resolve(run))
        attached = engine.kernel.annotations.list(view.run.id, limit=run_facts.MOST_ANNOTATIONS)
        say_json(export_document(reads, view, attached))
