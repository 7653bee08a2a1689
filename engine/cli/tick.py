"""`engine tick`: one maintenance tick, for an external scheduler."""

from dataclasses import asdict

import typer

from engine.cli.exit_codes import ExitCode
from engine.cli.invocation import Invocation
from engine.cli.printing import note, say, say_json
from engine.hosts.maintenance import run_tick

app = typer.Typer(add_completion=False)


@app.command()
def tick(ctx: typer.Context) -> None:
    """Claim pending runs, poll suspended stages, release stale leases, publish events, repair stuck runs."""
    invocation: Invocation = ctx.obj
    with invocation.reading() as engine:
        engine.recover()
        result = run_tick(engine.kernel, "cli")
    counts = asdict(result)
    if invocation.json:
        say_json(counts)
    else:
        say(", ".join(f"{name.replace('_', ' ')} {value}" for name, value in counts.items() if name != "errors"))
    for error in result.errors:
        note(f"error: {error}")
    if result.errors:
        raise typer.Exit(ExitCode.FAILED)
