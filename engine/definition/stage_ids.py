"""The rule for stage ids, and namespaces of constants for them."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from engine.domain.errors import DefinitionError, UnknownStage
from engine.domain.limits import ID
from engine.domain.shortened import shortened

ID_RULE = f"lowercase letters and digits, words joined by - or _, at most {ID} characters"
_PATTERN = re.compile(r"[a-z0-9]+([-_][a-z0-9]+)*")


class HasStages(Protocol):
    @property
    def id(self) -> str: ...
    def get_stage_ids(self) -> Sequence[str]: ...
    def has_stage(self, stage_id: str) -> bool: ...


def check_id(kind: str, value: object) -> str:
    """Gives the id. Raises `DefinitionError` unless it follows `ID_RULE`."""
    if not isinstance(value, str):
        raise DefinitionError(f"{kind} id {value!r} is not allowed: use {ID_RULE}")
    if len(value) > ID or not _PATTERN.fullmatch(value):
        raise DefinitionError(f"{kind} id {shortened(value)} is not allowed: use {ID_RULE}")
    return value


class StageIds:
    """Stage ids as constants: `IDS.DATA_EXTRACTION == "data-extraction"`. Frozen; iterates in order."""

    __slots__ = ("_ids",)
    _ids: dict[str, str]

    def __init__(self, stage_ids: Iterable[str]) -> None:
        ids: dict[str, str] = {}
        for stage_id in stage_ids:
            constant = check_id("stage", stage_id).upper().replace("-", "_")
            if constant in ids:
                raise DefinitionError(f"stage ids {ids[constant]!r} and {stage_id!r} are both {constant}")
            ids[constant] = stage_id
        object.__setattr__(self, "_ids", ids)

    def __getattr__(self, constant: str) -> str:
        try:
            return self._ids[constant]
        except KeyError:
            raise AttributeError(f"no stage id {constant}; known: {', '.join(self._ids) or 'none'}") from None

    def __setattr__(self, constant: str, value: object) -> None:
        raise AttributeError(f"stage ids are frozen: cannot set {constant}")

    def __delattr__(self, constant: str) -> None:
        raise AttributeError(f"stage ids are frozen: cannot delete {constant}")

    def __dir__(self) -> list[str]:
        return list(self._ids)

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids.values())

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, stage_id: object) -> bool:
        return stage_id in self._ids.values()

    def __repr__(self) -> str:
        return f"StageIds({list(self)})"


def create_stage_ids(workflow: HasStages) -> StageIds:
    """The constants of a built workflow."""
    return StageIds(workflow.get_stage_ids())


def define_stage_ids(stage_ids: Iterable[str]) -> StageIds:
    """Constants for stages and dependencies, before the workflow exists."""
    return StageIds(stage_ids)


def is_valid_stage_id(workflow: HasStages, stage_id: str) -> bool:
    """True when the workflow has a stage of that id."""
    return workflow.has_stage(stage_id)


def assert_valid_stage_id(workflow: HasStages, stage_id: str) -> None:
    """Raises `UnknownStage`, which lists the workflow's ids, unless the workflow has that stage."""
    if not workflow.has_stage(stage_id):
        known = ", ".join(workflow.get_stage_ids())
        raise UnknownStage(f"workflow {workflow.id!r} has no stage {stage_id!r}; it has: {known}")
