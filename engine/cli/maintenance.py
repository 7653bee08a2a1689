"""`engine tick`, `prune`, `migrate` and `doctor`: the upkeep of this machine's engine and its database."""

from dataclasses import asdict
from typing import Annotated

import typer

from engine.bootstrap import migrations
from engine.bootstrap.doctor import diagnose
from engine.cli.exit_codes import ExitCode
from engine.cli.formats import counted, parse_age
from engine.cli.invocation import Invocation
from engine.cli.printing import note, say, say_json
from engine.hosts.maintenance import run_tick

app = typer.Typer(add_completion=False)


@app.command()
def tick(ctx: typer.Context) -> None:
    """Claim pending runs, poll suspended stages, release stale leases, publish events, repair stuck runs."""
    invocation: Invocation = ctx.obj
    with invocation.engine(works=True) as engine:
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


@app.command()
def prune(
    ctx: typer.Context,
    *,
    older_than: Annotated[str, typer.Option(help="Runs that ended longer ago than this, such as 90d.")],
) -> None:
    """Delete runs that ended long ago, with their rows and files."""
    invocation: Invocation = ctx.obj
    age = parse_age(older_than)
    with invocation.engine() as engine:
        counts = engine.prune(age)
    if invocation.json:
        say_json(counts)
    else:
        keys = counted(counts.keys, "idempotency key")
        say(f"deleted {counted(counts.runs, 'run')}, {counted(counts.blobs, 'blob')} and {keys}")


@app.command()
def migrate(
    ctx: typer.Context,
    *,
    sql: Annotated[bool, typer.Option("--sql", help="Print the SQL and change nothing.")] = False,
) -> None:
    """Bring the database up to date."""
    invocation: Invocation = ctx.obj
    if sql:
        say(migrations.migration_sql(invocation.settings()))
        return
    revision = migrations.migrate(invocation.settings())
    if invocation.json:
        say_json({"revision": revision})
    else:
        say(f"the database is at revision {revision}")


@app.command()
def doctor(ctx: typer.Context) -> None:
    """Check everything the engine needs; each fault comes with its remedy."""
    invocation: Invocation = ctx.obj
    checks = diagnose(invocation.settings())
    if invocation.json:
        say_json({"ok": all(check.ok for check in checks), "checks": checks})
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            say(f"{'ok  ' if check.ok else 'BAD '} {check.name:<{width}}  {check.detail}")
            if check.remedy:
                say(f"     {'':<{width}}  {check.remedy}")
    if wrong := [check.name for check in checks if not check.ok]:
        note(f"error: failed checks: {', '.join(wrong)}")
        raise typer.Exit(ExitCode.FAILED)
