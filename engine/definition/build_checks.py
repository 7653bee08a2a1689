"""Checks a workflow's groups when it is built."""

from collections.abc import Iterator, Sequence
from typing import Any

from engine.definition.compatibility import Shape, mismatches
from engine.definition.schemas import Schema
from engine.definition.stage import Stage

type Group = tuple[Stage[Any, Any, Any], ...]


def problems(groups: Sequence[Group], declared_input: Schema[Any], declared_output: Schema[Any] | None) -> list[str]:
    """Every problem, each with the stage and the cause."""
    if not groups:
        return ["it has no stages; add some with pipe() or parallel()"]
    found = [f"execution group {number} is empty" for number, group in enumerate(groups, 1) if not group]
    found += [f"stage {each!r} occurs more than once" for each in _repeated(groups)]
    found += _dependency_problems(groups)
    found += _unfinished_stages(groups)
    return found or list(_input_problems(groups, declared_input, declared_output))


def _ids(groups: Sequence[Group]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(stage.id for stage in group) for group in groups)


def _repeated(groups: Sequence[Group]) -> tuple[str, ...]:
    """Ids that occur more than once, in order of their first repetition."""
    order = [stage.id for group in groups for stage in group]
    return tuple(dict.fromkeys(each for index, each in enumerate(order) if each in order[:index]))


def _dependency_problems(groups: Sequence[Group]) -> Iterator[str]:
    for number, group in enumerate(groups, 1):
        for stage in group:
            for needed in stage.dependencies:
                where = next((index for index, ids in enumerate(_ids(groups), 1) if needed in ids), None)
                what = f"stage {stage.id!r} (group {number}) depends on {needed!r}"
                if where is None:
                    yield f"{what}, which is not in this workflow"
                elif where == number:
                    yield f"{what}, which is in the same execution group"
                elif where > number:
                    yield f"{what}, which runs later (group {where})"


def _unfinished_stages(groups: Sequence[Group]) -> Iterator[str]:
    for group in groups:
        for stage in group:
            if stage.mode == "async-batch" and stage.check is None:
                yield f"async-batch stage {stage.id!r} has no check_completion"


def _input_problems(
    groups: Sequence[Group], declared_input: Schema[Any], declared_output: Schema[Any] | None
) -> Iterator[str]:
    given, source = declared_input.declared, "the workflow's input"
    for group in groups:
        for stage in group:
            if not stage.takes_no_input:
                for each in mismatches(given, stage.input_type.declared):
                    yield f"stage {stage.id!r} cannot take {source}: {each}"
        given, source = _output_shape(group), f"the output of {_named(group)}"
    if declared_output is not None:
        for each in mismatches(given, declared_output.declared):
            yield f"{source} does not fit the workflow's output {declared_output.name}: {each}"


def _output_shape(group: Group) -> Shape:
    if len(group) == 1:
        return group[0].output_type.declared
    return {stage.id: stage.output_type.declared for stage in group}


def _named(group: Group) -> str:
    return ", ".join(f"stage {stage.id!r}" for stage in group)
