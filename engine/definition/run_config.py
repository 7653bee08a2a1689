"""The config of a run: the options of each stage."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from engine.definition.schemas import Misfit, accepted_keys, shortened
from engine.definition.stage import Stage
from engine.domain.errors import InvalidInput
from engine.domain.stored_value import Json

type AnyStage = Stage[Any, Any, Any]


def complete_config(
    workflow_id: str, stages: Sequence[AnyStage], given: Mapping[str, Any]
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


def default_config(stage: AnyStage) -> dict[str, Json]:
    """The options that have a default."""
    model: type[BaseModel] = stage.config_type.declared
    return model.model_construct().model_dump(mode="json", round_trip=True, warnings=False)


def _complete_slice(stage: AnyStage, given: object) -> dict[str, Json]:
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
