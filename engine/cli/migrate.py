"""`engine migrate`: migrates the database to this code's schema."""

from typing import Annotated

import typer

from engine.bootstrap import migrations
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
        say(migrations.migration_sql(invocation.settings()))
        return
    revision = migrations.migrate(invocation.settings())
    if invocation.json:
        say_json({"revision": revision})
    else:
        say(f"the database is at revision {revision}")
