"""Computes the positions of stages in execution groups. Groups count from 1, stages from 0."""

from collections.abc import Sequence

type Groups = Sequence[Sequence[str]]


def flat(groups: Groups) -> tuple[str, ...]:
    """All stage ids in order of execution."""
    return tuple(stage_id for group in groups for stage_id in group)


def group_of(groups: Groups, stage_id: str) -> int | None:
    """The number of the stage's group, 1 first."""
    return next((number for number, group in enumerate(groups, 1) if stage_id in group), None)


def before(groups: Groups, stage_id: str) -> str | None:
    """The stage listed just before this one; None for the first."""
    order = flat(groups)
    index = order.index(stage_id)
    return order[index - 1] if index else None


def repeated(groups: Groups) -> tuple[str, ...]:
    """Ids that occur more than once, in order of their first repetition."""
    order = flat(groups)
    return tuple(dict.fromkeys(each for index, each in enumerate(order) if each in order[:index]))
