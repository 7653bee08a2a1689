"""Draws a workflow as text and as a Mermaid flowchart."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from engine.definition.stage import Stage

type Groups = Sequence[Sequence[Stage[Any, Any, Any]]]


def describe(heading: str, description: str, groups: Groups) -> str:
    stages = sum(len(group) for group in groups)
    counts = f"{_counted(stages, 'stage')} in {_counted(len(groups), 'execution group')}"
    lines = [line for number, group in enumerate(groups, 1) for line in _group_lines(number, group)]
    return "\n".join([f"{heading}: {counts}", *([description] if description else []), *lines])


def to_mermaid(groups: Groups) -> str:
    nodes = [f"    {_node(stage)}" for group in groups for stage in group]
    arrows = [
        f"    {_node_id(before)} --> {_node_id(after)}"
        for earlier, later in pairwise(groups)
        for before in earlier
        for after in later
    ]
    return "\n".join(["flowchart TD", *nodes, *arrows])


def _group_lines(number: int, group: Sequence[Stage[Any, Any, Any]]) -> Iterator[str]:
    if len(group) == 1:
        yield f"{number}. {_line(group[0])}"
        return
    yield f"{number}. in parallel:"
    yield from (f"   - {_line(stage)}" for stage in group)


def _line(stage: Stage[Any, Any, Any]) -> str:
    notes: list[str] = ["async-batch"] if stage.mode == "async-batch" else []
    notes += [f"pool {stage.pool}"] if stage.pool != "default" else []
    notes += [f"after {', '.join(stage.dependencies)}"] if stage.dependencies else []
    text = f"{stage.name} ({'; '.join([stage.id, *notes])})"
    return f"{text}: {stage.description}" if stage.description else text


def _node(stage: Stage[Any, Any, Any]) -> str:
    label = stage.name.replace('"', "#quot;").replace("\n", " ")
    opening, closing = ("[[", "]]") if stage.mode == "async-batch" else ("[", "]")
    return f'{_node_id(stage)}{opening}"{label}"{closing}'


def _node_id(stage: Stage[Any, Any, Any]) -> str:
    # "end" and other Mermaid words are legal stage ids, and "a-b" and "a_b" must stay two nodes.
    return "s_" + stage.id.replace("-", "__")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
