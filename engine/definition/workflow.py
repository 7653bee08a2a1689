"""A built, immutable workflow: stages in execution groups."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_json

from engine.definition.budget import Budget
from engine.definition.drawing import describe, to_mermaid
from engine.definition.schemas import Misfit, Schema, accepted_keys
from engine.definition.stage import Stage
from engine.domain.errors import InvalidInput, UnknownStage
from engine.domain.shortened import shortened
from engine.domain.values import Json

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
        self.get_stage_index(stage_id)
        return next(number for number, group in enumerate(self.groups, 1) if self._stages[stage_id] in group)

    def get_stage_index(self, stage_id: str) -> int:
        """The stage's place among all stages, 0 first. Raises `UnknownStage`."""
        if stage_id not in self._stages:
            known = ", ".join(self._stages)
            raise UnknownStage(f"workflow {self.id!r} has no stage {stage_id!r}; it has: {known}")
        return self.get_stage_ids().index(stage_id)

    def get_previous_stage_id(self, stage_id: str) -> str | None:
        """The stage before this one; None for the first. Raises `UnknownStage`."""
        index = self.get_stage_index(stage_id)
        return self.get_stage_ids()[index - 1] if index else None

    def get_stage_configs(self) -> dict[str, dict[str, Json]]:
        """For each stage: its name, description, the JSON schema of its config, and the defaults."""
        return {
            stage.id: {
                "name": stage.name,
                "description": stage.description,
                "schema": stage.config_schema,
                "defaults": _default_config(stage),
            }
            for stage in self.get_all_stages()
        }

    def get_default_config(self) -> dict[str, dict[str, Json]]:
        """The default config of a run. Options without a default are left out."""
        return {stage.id: _default_config(stage) for stage in self.get_all_stages()}

    def validate_config(self, config: Mapping[str, Any] | None = None) -> dict[str, dict[str, Json]]:
        """Each stage's options with their defaults. Raises `InvalidInput` with every problem and its stage."""
        return _complete_config(self.id, self.get_all_stages(), config or {})

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


def _complete_config(
    workflow_id: str, stages: Sequence[Stage[Any, Any, Any]], given: Mapping[str, Any]
) -> dict[str, dict[str, Json]]:
    """Every stage's config with its defaults. Raises `InvalidInput` with all problems."""
    known = [stage.id for stage in stages]
    problems = [f"{each}: no such stage; the workflow has: {', '.join(known)}" for each in given if each not in known]
    complete: dict[str, dict[str, Json]] = {}
    for stage in stages:
        try:
            complete[stage.id] = _complete_slice(stage, given.get(stage.id, {}))
        except Misfit as misfit:
            problems += [f"{stage.id}: {problem}" for problem in misfit.problems]
    if problems:
        raise InvalidInput(f"workflow {workflow_id!r}: its config is not valid", problems)
    return complete


def _default_config(stage: Stage[Any, Any, Any]) -> dict[str, Json]:
    """The options that have a default."""
    model: type[BaseModel] = stage.config_type.declared
    return model.model_construct().model_dump(mode="json", round_trip=True, warnings=False)


def _complete_slice(stage: Stage[Any, Any, Any], given: object) -> dict[str, Json]:
    if isinstance(given, BaseModel):
        given = given.model_dump(mode="json", round_trip=True)
    if not isinstance(given, Mapping):
        raise Misfit([f"options must be an object, not {shortened(given)}"])
    problems = [f"{each}: no such option" for each in _unknown_options(stage.config_type.declared, given)]
    try:
        complete: dict[str, Json] = stage.config_type.accept(dict(given))
    except Misfit as misfit:
        raise Misfit([*problems, *misfit.problems]) from misfit
    if problems:
        raise Misfit(problems)
    return complete


def _unknown_options(model: type[BaseModel], given: Mapping[Any, object]) -> list[str]:
    """The unknown options, unless the model has a rule for them."""
    if "extra" in model.model_config:
        return []
    known = {key for name, field in model.model_fields.items() for key in accepted_keys(name, field)}
    return sorted(str(each) for each in given if each not in known)
