"""The command line: global options anywhere in it, and commands that are imported when they are used.

So `engine --help` and an error of usage need neither the database libraries nor a kernel.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from typing import Any, ClassVar

from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

WITH_VALUE = frozenset({"--profile", "--home", "--database-url", "--stack", "--output", "-o"})
FLAGS = frozenset({"--debug"})


@dataclass(frozen=True, slots=True)
class Listed:
    """A command in the help. It is in `engine.cli.<module>:app`; the module has the command's name if none is given."""

    summary: str
    module: str | None = None


class LazyGroup(TyperGroup):
    """A group whose subclasses list the commands."""

    listed: ClassVar[Mapping[str, Listed]] = {}

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {name: TyperCommand(name, short_help=each.summary) for name, each in self.listed.items()}

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, to_the_front(args))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        return name, (command if name is None else _loaded(name, self.listed[name].module)), rest


def _loaded(name: str, module: str | None) -> Any:
    command: Any = get_command(import_module(f"engine.cli.{module or name}").app)
    if module is not None:
        command = command.commands[name]
    command.name = name
    return command


def to_the_front(args: Sequence[str]) -> list[str]:
    """Moves global options to the front. Words after `--` stay in place."""
    front: list[str] = []
    rest: list[str] = []
    words = iter(args)
    for word in words:
        if word == "--":
            rest += [word, *words]
        elif word in WITH_VALUE:
            front += [word, *(value for value in [next(words, None)] if value is not None)]
        elif word in FLAGS or word.partition("=")[0] in WITH_VALUE or word.startswith("-o"):
            front.append(word)
        else:
            rest.append(word)
    return [*front, *rest]


def wants_json(args: Sequence[str]) -> bool:
    """True when the words ask for JSON; for errors before they are parsed."""
    front = to_the_front(args)
    asked = {"-ojson", "-o=json", "--output=json"}
    return not asked.isdisjoint(front) or any(
        name in {"-o", "--output"} and value == "json" for name, value in pairwise(front)
    )


def wants_traceback(args: Sequence[str]) -> bool:
    return "--debug" in to_the_front(args)
