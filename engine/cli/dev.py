"""`engine dev`: runs a deployment, or fake models, on this machine until it is stopped."""

import os
import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from engine.cli.cloud import local_cloud
from engine.cli.interruption import Interruption
from engine.cli.invocation import Invocation
from engine.cli.printing import note, say_fields, say_json
from engine.domain.errors import InvalidInput

if TYPE_CHECKING:
    from engine.localcloud.cloud import LocalCloud

app = typer.Typer(add_completion=False)


@app.command()
def dev(
    ctx: typer.Context,
    *,
    cloud: Annotated[bool, typer.Option("--cloud", help="Emulated AWS, PostgreSQL and the real handlers.")] = False,
    fake_ai: Annotated[
        bool, typer.Option("--fake-ai", help="A server that answers model calls with made-up text.")
    ] = False,
) -> None:
    """Run a deployment or fake models, or both, on this machine until SIGTERM or Ctrl-C. Everything is removed then."""
    invocation: Invocation = ctx.obj
    if fake_ai:
        invocation = ctx.with_resource(invocation.with_fake_ai(kept=not cloud))
    if not cloud and not fake_ai:
        raise InvalidInput("there is nothing to run; use engine dev --cloud, engine dev --fake-ai, or both")
    with Interruption() as interruption:
        if not cloud:
            _say_models(invocation)
            interruption.wait(None)
            return
        with local_cloud(invocation) as running:
            _say(running, invocation)
            interruption.wait(None)
        note("stopped; everything was removed")


def _say_models(invocation: Invocation) -> None:
    url = invocation.ai_base_url
    say_json({"url": url}) if invocation.json else say_fields([("models", url)])
    note(f"use them:  ENGINE_AI_BASE_URL={url} engine run WORKFLOW --input …\nstop with Ctrl-C")


def _say(cloud: "LocalCloud", invocation: Invocation) -> None:
    if invocation.json:
        models = {"url": invocation.ai_base_url} if invocation.ai_base_url else {}
        say_json({"environment": cloud.environment, "logs": str(cloud.folder), **models})
        return
    resources = cloud.resources
    say_fields(
        [
            ("AWS", cloud.emulator.url),
            ("database", cloud.environment["DATABASE_URL"]),
            ("logs", cloud.folder),
            *((f"queue {pool}", queue.url) for pool, queue in resources.work.items()),
            ("control queue", resources.control.url),
            ("events seen", resources.seen.url),
            ("models", invocation.ai_base_url),
        ]
    )
    home = f"--home {shlex.quote(os.fspath(invocation.home))} " if invocation.home else ""
    note(f"\nrun something in it:  engine {home}run --cloud WORKFLOW --input …\nstop it with Ctrl-C")
