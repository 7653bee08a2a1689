"""`engine doctor`: checks the configuration, the connections and the schema."""

import typer

from engine.bootstrap.doctor import diagnose
from engine.cli.exit_codes import ExitCode
from engine.cli.invocation import Invocation
from engine.cli.printing import jsonable, note, say, say_json

app = typer.Typer(add_completion=False)


@app.command()
def doctor(ctx: typer.Context) -> None:
    """Check everything the engine needs; each fault comes with its remedy."""
    invocation: Invocation = ctx.obj
    checks = diagnose(invocation.settings())
    if invocation.json:
        say_json({"ok": all(check.ok for check in checks), "checks": [jsonable(check) for check in checks]})
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            say(f"{'ok  ' if check.ok else 'BAD '} {check.name:<{width}}  {check.detail}")
            if check.remedy:
                say(f"     {'':<{width}}  {check.remedy}")
    if wrong := [check.name for check in checks if not check.ok]:
        note(f"error: not in order: {', '.join(wrong)}")
        raise typer.Exit(ExitCode.FAILED)
