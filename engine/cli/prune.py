"""`engine prune`: deletes old runs with everything that belongs to them."""

from typing import Annotated

import typer

from engine.cli.formats import counted, parse_duration
from engine.cli.invocation import Invocation
from engine.cli.printing import say, say_json

app = typer.Typer(add_completion=False)


@app.command()
def prune(
    ctx: typer.Context,
    *,
    older_than: Annotated[str, typer.Option(help="Runs that ended longer ago than this, such as 90d.")],
) -> None:
    """Delete runs that ended long ago, with their rows and files."""
    invocation: Invocation = ctx.obj
    age = parse_duration(older_than)
    with invocation.reading() as engine:
        counts = engine.prune(age)
    if invocation.json:
        say_json(counts)
    else:
        keys = counted(counts.keys, "idempotency key")
        say(f"deleted {counted(counts.runs, 'run')}, {counted(counts.blobs, 'blob')} and {keys}")
