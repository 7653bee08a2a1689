"""`engine migrate`: the database's schema, brought to this code's."""

from typing import Annotated

import typer

from engine import bootstrap
from engine.cli.invocation import Invocation
from engine.cli.printing import say, say_json

app = typer.Typer(add_completion=False)


@app.command()
def migrate(
    ctx: typer.Context,
    *,
    sql: Annotated[bool, typer.Option("--sql", help="Print the SQL and change nothing.")] = False,
) -> None:
    """Bring the database up to date."""
    invocation: Invocation = ctx.obj
    if sql:
        say(bootstrap.migration_sql(invocation.settings()))
        return
    applied = bootstrap.migrate(invocation.settings())
    if invocation.json:
        say_json({"applied": applied})
    elif applied:
        say(f"applied {', '.join(applied)}")
    else:
        say("the database is up to date")
