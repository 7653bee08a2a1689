"""A command group that imports a command's module when the command is used, so that help is fast."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar

from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from engine.cli.global_options import to_the_front

type Summaries = Mapping[str, str]
"""The help line of each command. The command `name` is the Typer app `engine.cli.name:app`."""


class LazyGroup(TyperGroup):
    """A group whose subclasses list the commands. Global options may stand anywhere on the line."""

    summaries: ClassVar[Summaries] = {}

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {name: TyperCommand(name, short_help=line) for name, line in self.summaries.items()}

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, to_the_front(args))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, listed, rest = super().resolve_command(ctx, args)
        return name, (listed if name is None else _loaded(name)), rest


def _loaded(name: str) -> Any:
    command = get_command(import_module(f"engine.cli.{name}").app)
    command.name = name
    return command
