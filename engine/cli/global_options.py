"""The options of every command. They may stand before or after the command."""

from collections.abc import Sequence
from itertools import pairwise

WITH_VALUE = frozenset({"--profile", "--home", "--database-url", "--stack", "--output", "-o"})
FLAGS = frozenset({"--debug"})


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
    """True when the words ask for JSON, for errors before they are parsed."""
    front = to_the_front(args)
    asked = {"-ojson", "-o=json", "--output=json"}
    return not asked.isdisjoint(front) or any(
        name in {"-o", "--output"} and value == "json" for name, value in pairwise(front)
    )


def wants_traceback(args: Sequence[str]) -> bool:
    return "--debug" in to_the_front(args)
