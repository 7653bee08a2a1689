"""`engine dlq`: events that failed at every retry."""

import re
from typing import Annotated

import typer

from engine.cli.documents import event_document
from engine.cli.formats import instant
from engine.cli.invocation import Invocation
from engine.cli.printing import note, say, say_json, say_table
from engine.domain.errors import NotFound
from engine.kernel.commands import PluginReplayDLQ

app = typer.Typer(no_args_is_help=True, add_completion=False, help="List, show and replay dead letters.")

_SEQUENCE = re.compile("[0-9]{1,18}")
"""The number of an event in its run, as long as every database can compare it."""

EventType = Annotated[str | None, typer.Option("--type", help="Only events of this type, such as stage:failed.")]


@app.command("list")
def list_dead(
    ctx: typer.Context,
    *,
    event_type: EventType = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="The maximum number.")] = 100,
) -> None:
    """List dead letters, oldest first."""
    invocation: Invocation = ctx.obj
    with invocation.client() as client:
        found = client.reads.dead_letters(limit, event_type)
    if invocation.json:
        say_json([event_document(event) for event in found])
        return
    rows = [(each.id, each.event_type, instant(each.dlq_at), each.retry_count, each.last_error) for each in found]
    say_table(("event", "type", "dead since", "tries", "last error"), rows, empty="there are no dead letters")


@app.command()
def show(
    ctx: typer.Context, event: Annotated[str, typer.Argument(metavar="EVENT", help="An id from the list.")]
) -> None:
    """Show one event with its payload and its error."""
    invocation: Invocation = ctx.obj
    run, _, sequence = event.rpartition(".")
    with invocation.client() as client:
        reads = client.reads
        if not run or not _SEQUENCE.fullmatch(sequence):
            raise NotFound("event", event)
        found = reads.events(reads.resolve(run), after=int(sequence) - 1, limit=1)
    if not found or found[0].sequence != int(sequence):
        raise NotFound("event", event)
    say_json(event_document(found[0]))


@app.command()
def replay(
    ctx: typer.Context,
    *,
    event_type: EventType = None,
    limit: Annotated[int, typer.Option("--max", min=1, max=10_000, help="The maximum number.")] = 100,
) -> None:
    """Put dead letters back into the outbox."""
    invocation: Invocation = ctx.obj
    with invocation.client() as client:
        result = client.dispatch(PluginReplayDLQ(max_events=limit, event_type=event_type))
    if invocation.json:
        say_json(result)
        return
    say(f"replayed {result.replayed}")
    if result.replayed:
        note("the next flush publishes them: engine outbox flush")
