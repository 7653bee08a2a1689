"""`engine`: the console script. It turns errors into a sentence and an exit code."""

import os
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, ClassVar

import typer
from typer.main import get_command

from engine.cli.command_line import LazyGroup, Listed, wants_json, wants_traceback
from engine.cli.exit_codes import report
from engine.cli.invocation import Invocation, OutputFormat
from engine.cli.printing import say
from engine.domain.errors import InvalidInput

OF_STACKS = ("run", "runs", "jobs", "dlq", "outbox")


class EngineCommands(LazyGroup):
    listed: ClassVar[Mapping[str, Listed]] = {
        "init": Listed("Create a small project with a workflow that runs."),
        "run": Listed("Run a workflow and show its progress; --resume continues a run."),
        "runs": Listed("List, show, watch, cancel, rerun and export runs."),
        "workflows": Listed("List, show and draw workflows."),
        "dev": Listed("Run a deployment on this machine."),
        "worker": Listed("Run jobs until stopped."),
        "jobs": Listed("List waiting and running jobs."),
        "models": Listed("List models and their prices."),
        "outbox": Listed("Show and publish waiting events."),
        "dlq": Listed("List, show and replay dead letters."),
        "tick": Listed("Run one maintenance tick.", "maintenance"),
        "prune": Listed("Delete old runs with their rows and files.", "maintenance"),
        "migrate": Listed("Bring the database up to date.", "maintenance"),
        "doctor": Listed("Check configuration, connections and schema.", "maintenance"),
    }


app = typer.Typer(
    cls=EngineCommands,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 completed, 1 failed, 2 usage, 3 cancelled, 4 not reachable, 5 timeout, 130 interrupted.",
)


def say_version(asked: bool) -> None:
    if asked:
        say(version("serverless-workflow-engine"))
        raise typer.Exit


@app.callback()
def engine(
    ctx: typer.Context,
    *,
    profile: Annotated[
        str | None, typer.Option(help="The profile: embedded or aws.", envvar="ENGINE_PROFILE", show_envvar=True)
    ] = None,
    home: Annotated[Path | None, typer.Option(help="Folder of the embedded profile.", show_default=".engine")] = None,
    database_url: Annotated[str | None, typer.Option(help="PostgreSQL instead of the embedded database.")] = None,
    stack: Annotated[str | None, typer.Option(help=f"A deployed stack, for {', '.join(OF_STACKS)}.")] = None,
    output: Annotated[OutputFormat, typer.Option("--output", "-o", help="Output format.")] = OutputFormat.TEXT,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=say_version, is_eager=True)
    ] = False,
) -> None:
    """Durable, typed workflows. These options may also stand after the command."""
    if stack is not None and ctx.invoked_subcommand not in OF_STACKS:
        raise InvalidInput(
            f"--stack works with {', '.join(OF_STACKS)}; engine {ctx.invoked_subcommand} runs on this machine only"
        )
    ctx.obj = Invocation(profile=profile, home=home, database_url=database_url, stack=stack, output=output, debug=debug)


def main(args: Sequence[str] | None = None) -> int:
    """Runs one command. Gives the exit code."""
    words = list(sys.argv[1:] if args is None else args)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace", line_buffering=True)
    try:
        code = get_command(app).main(words, prog_name="engine", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        return _reader_left()
    except SystemExit as ending:  # typer raises it for a broken pipe
        if isinstance(ending.__context__, BrokenPipeError):
            return _reader_left()
        raise
    except Exception as error:  # noqa: BLE001 — the last boundary: every error becomes a sentence and an exit code
        return report(error, as_json=wants_json(words), debug=wants_traceback(words))
    return code if isinstance(code, int) else 0


def _reader_left() -> int:
    """Silences stdout after a broken pipe, as in `engine runs list | head`."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 141
