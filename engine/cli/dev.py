"""`engine dev`: a deployment, or made-up models, on this machine until it is told to stop."""

import os
import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from engine.cli.cloud import local_cloud
from engine.cli.fake_ai import with_fake_ai
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
    fake_ai: Annotated[bool, typer.Option("--fake-ai", help="A server of models that are made up.")] = False,
) -> None:
    """Run a deployment on this machine until SIGTERM or Ctrl-C. Nothing of it is left then."""
    invocation: Invocation = ctx.obj
    if fake_ai and not cloud:
        _serve_models(invocation)
        return
    if not cloud or fake_ai:
        raise InvalidInput("say what to run: engine dev --cloud, or engine dev --fake-ai")
    with Interruption() as interruption:
        with local_cloud(invocation) as running:
            _say(running, invocation)
            interruption.wait(None)
        note("stopped; nothing is left")


def _serve_models(invocation: Invocation) -> None:
    with Interruption() as interruption, with_fake_ai(invocation) as faked:
        say_json({"url": faked.ai_base_url}) if invocation.json else say_fields([("models", faked.ai_base_url)])
        note(f"use them with ENGINE_AI_BASE_URL={faked.ai_base_url}; stop with Ctrl-C")
        interruption.wait(None)


def _say(cloud: "LocalCloud", invocation: Invocation) -> None:
    if invocation.json:
        say_json({"environment": cloud.environment, "logs": str(cloud.folder)})
        return
    resources = cloud.resources
    say_fields(
        [
            ("AWS", cloud.emulator.url),
            ("database", cloud.environment["DATABASE_URL"]),
            ("logs", cloud.folder),
            *((f"queue {pool}", queue.url) for pool, queue in resources.work.items()),
            ("queue of wakes", resources.control.url),
            ("events seen", resources.seen.url),
        ]
    )
    home = f"--home {shlex.quote(os.fspath(invocation.home))} " if invocation.home else ""
    note(f"\nrun something in it:  engine {home}run --cloud WORKFLOW --input …\nstop it with Ctrl-C")
