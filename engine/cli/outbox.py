"""`engine outbox`: committed events that are not published yet."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from engine.cli.exit_codes import ExitCode
from engine.cli.formats import counted, instant, seconds
from engine.cli.invocation import Invocation
from engine.cli.printing import say, say_json
from engine.kernel.commands import OutboxFlush

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Show and publish waiting events.")


@app.command("list")
def list_waiting(ctx: typer.Context) -> None:
    """Show the number of waiting events, and the age of the oldest."""
    invocation: Invocation = ctx.obj
    with invocation.client() as client:
        count, oldest = client.reads.backlog()
    if invocation.json:
        say_json({"waiting": count, "oldest": oldest})
    elif oldest is None:
        say("no event waits")
    else:
        age = seconds((datetime.now(UTC) - oldest).total_seconds())
        say(
            f"{counted(count, 'event')} {'waits' if count == 1 else 'wait'}, the oldest since {instant(oldest)} ({age})"
        )


@app.command()
def flush(
    ctx: typer.Context,
    *,
    run: Annotated[str | None, typer.Option(help="Only events of this run.")] = None,
    limit: Annotated[int, typer.Option("--max", min=1, max=10_000, help="The maximum number.")] = 1000,
) -> None:
    """Publish waiting events in order."""
    invocation: Invocation = ctx.obj
    with invocation.client() as client:
        run_id = None if run is None else client.reads.resolve(run)
        result = client.dispatch(OutboxFlush(max_events=limit, workflow_run_id=run_id))
    if invocation.json:
        say_json(result)
    else:
        say(f"published {result.published}, failed {result.failed}, dead-lettered {result.dead_lettered}")
    if result.failed or result.dead_lettered:
        raise typer.Exit(ExitCode.FAILED)
