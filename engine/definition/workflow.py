"""A built, immutable workflow: stages in execution groups."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

from pydantic_core import to_json

from engine.definition import plan
from engine.definition.budget import Budget
from engine.definition.drawing import describe, to_mermaid
from engine.definition.run_config import complete_config, default_config
from engine.definition.schemas import Misfit, Schema
from engine.definition.stage import Stage
from engine.domain.errors import InvalidInput, UnknownStage
from engine.domain.stored_value import Json

type Group = tuple[Stage[Any, Any, Any], ...]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Workflow[In, Out]:
    """A workflow, made by `define_workflow(…)….build()`.

    Execution groups count from 1. The output of a group of one is its stage's output; that of a larger group is an
    object by stage id.
    """

    id: str
    name: str
    description: str
    input_type: Schema[In]
    output_type: Schema[Out] | None
    groups: tuple[Group, ...]
    budget: Budget | None = None

    def __repr__(self) -> str:
        return f"<workflow {self.id!r}>"

    @property
    def group_count(self) -> int:
        return len(self.groups)

    def group(self, number: int) -> Group:
        """The stages of an execution group, 1 first."""
        if not 1 <= number <= len(self.groups):
            raise UnknownStage(f"workflow {self.id!r} has no execution group {number}; it has 1 to {len(self.groups)}")
        return self.groups[number - 1]

    def get_stages_in_execution_group(self, number: int) -> Group:
        return self.group(number)

    def get_execution_plan(self) -> tuple[Group, ...]:
        """The stages, group by group."""
        return self.groups

    def get_all_stages(self) -> Group:
        """All stages in order of execution."""
        return tuple(stage for group in self.groups for stage in group)

    @property
    def pools(self) -> tuple[str, ...]:
        """The names of the stages' pools."""
        return tuple(sorted({stage.pool for stage in self.get_all_stages()}))

    def get_stage_ids(self) -> tuple[str, ...]:
        return tuple(self._stages)

    def get_stage(self, stage_id: str) -> Stage[Any, Any, Any] | None:
        return self._stages.get(stage_id)

    def has_stage(self, stage_id: str) -> bool:
        return stage_id in self._stages

    def get_execution_group_index(self, stage_id: str) -> int:
        """The number of the stage's execution group, 1 first. Raises `UnknownStage`."""
        number = plan.group_of(self._ids, stage_id)
        if number is None:
            raise self._unknown(stage_id)
        return number

    def get_stage_index(self, stage_id: str) -> int:
        """The stage's place among all stages, 0 first. Raises `UnknownStage`."""
        self.get_execution_group_index(stage_id)
        return plan.flat(self._ids).index(stage_id)

    def get_previous_stage_id(self, stage_id: str) -> str | None:
        """The stage before this one; None for the first. Raises `UnknownStage`."""
        self.get_execution_group_index(stage_id)
        return plan.before(self._ids, stage_id)

    def get_stage_configs(self) -> dict[str, dict[str, Json]]:
        """For each stage: its name, description, the JSON schema of its config, and the defaults."""
        return {
            stage.id: {
                "name": stage.name,
                "description": stage.description,
                "schema": stage.config_schema,
                "defaults": default_config(stage),
            }
            for stage in self.get_all_stages()
        }

    def get_default_config(self) -> dict[str, dict[str, Json]]:
        """The default config of a run. Options without a default are left out."""
        return {stage.id: default_config(stage) for stage in self.get_all_stages()}

    def validate_config(self, config: Mapping[str, Any] | None = None) -> dict[str, dict[str, Json]]:
        """Each stage's options with their defaults. Raises `InvalidInput` with every problem and its stage."""
        return complete_config(self.id, self.get_all_stages(), config or {})

    def validate_input(self, value: object) -> Json:
        """The stored form of a run's input: JSON or a typed value. Raises `InvalidInput` with every problem."""
        try:
            return self.input_type.accept({} if value is None and self.takes_no_input else value)
        except Misfit as misfit:
            message = f"workflow {self.id!r}: its input does not fit {self.input_type.name}"
            raise InvalidInput(message, misfit.problems) from misfit

    @property
    def takes_no_input(self) -> bool:
        return self.input_type.takes_nothing

    def estimate_cost(self, value: object, config: Mapping[str, Any] | None = None) -> float:
        """The estimated cost in US dollars: the sum over stages with an `estimate_cost`.

        Raises `InvalidInput` when input or config do not fit.
        """
        typed = self.input_type.load(self.validate_input(value))
        complete = self.validate_config(config)
        return sum(
            stage.estimate_cost(typed, stage.validate_config(complete[stage.id]))
            for stage in self.get_all_stages()
            if stage.estimate_cost is not None
        )

    def describe(self) -> str:
        """The workflow as a few lines of text."""
        return describe(f"{self.name} ({self.id})", self.description, self.groups)

    def to_mermaid(self) -> str:
        """The workflow as a Mermaid flowchart."""
        return to_mermaid(self.groups)

    @cached_property
    def definition_hash(self) -> str:
        """The SHA-256 of ids, groups and schemas in hex, without titles and descriptions."""
        content = {
            "id": self.id,
            "input": self.input_type.json_schema,
            "groups": [[_fingerprint(stage) for stage in group] for group in self.groups],
        }
        return sha256(to_json(_sorted(content))).hexdigest()

    @cached_property
    def _stages(self) -> Mapping[str, Stage[Any, Any, Any]]:
        return {stage.id: stage for stage in self.get_all_stages()}

    @cached_property
    def _ids(self) -> tuple[tuple[str, ...], ...]:
        return tuple(tuple(stage.id for stage in group) for group in self.groups)

    def _unknown(self, stage_id: str) -> UnknownStage:
        return UnknownStage(f"workflow {self.id!r} has no stage {stage_id!r}; it has: {', '.join(self._stages)}")


def _fingerprint(stage: Stage[Any, Any, Any]) -> Json:
    return [stage.id, stage.input_schema, stage.output_schema, stage.config_schema]


def _sorted(value: Json) -> Json:
    """The schema with sorted keys, without titles and descriptions."""
    match value:
        case dict():
            wording = {key for key in ("title", "description") if isinstance(value.get(key), str)}
            return {key: _sorted(value[key]) for key in sorted(value.keys() - wording)}
        case list() | tuple():
            return [_sorted(each) for each in value]
        case _:
            return value
