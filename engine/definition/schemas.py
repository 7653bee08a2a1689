"""The types of a stage: validate data against them, and convert it to stored JSON."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic.fields import FieldInfo
from pydantic_core import PydanticSerializationError, to_json

from engine.domain.shortened import shortened
from engine.domain.values import Json, refuse_unstorable

SHOWN_PROBLEMS = 20
PLAIN_JSON = (dict, list, str, int, float, bool, type(None))


class NoInput(BaseModel):
    """The input type of a stage or workflow without input."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class NoConfig(BaseModel):
    """The config type of a stage without config."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Misfit(ValueError):
    """The data does not fit the schema. Each line is a problem: its place, its kind, the value."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(f"  - {problem}" for problem in self.problems))


class Schema[T]:
    """A type of data: anything that a pydantic `TypeAdapter` accepts.

    Stored values use field names (aliases when the model sets `serialize_by_alias`) and omit computed fields, so that
    every stored value loads again. Input may use names and aliases.
    """

    def __init__(self, declared: Any) -> None:
        self.declared = declared
        self._adapter: TypeAdapter[T] = TypeAdapter(declared)

    @property
    def name(self) -> str:
        return self.declared.__name__ if isinstance(self.declared, type) else str(self.declared)

    @property
    def takes_nothing(self) -> bool:
        return self.declared is NoInput

    @cached_property
    def json_schema(self) -> Mapping[str, Json]:
        """The JSON schema of the stored form; empty for a type that has none."""
        try:
            return self._adapter.json_schema(by_alias=False)
        except PydanticInvalidForJsonSchema:
            return {}

    def load(self, value: Json) -> T:
        """The typed value of a JSON value."""
        try:
            return self._adapter.validate_json(to_json(value), by_alias=True, by_name=True)
        except ValidationError as error:
            if error.errors(include_url=False)[0]["type"] == "json_invalid":
                _refuse_unstorable(value)
            raise Misfit(problems_of(error)) from error
        except PydanticSerializationError as error:
            raise Misfit([f"(value): not JSON: {error}"]) from error

    def store(self, value: object) -> Json:
        """The JSON form of any value that the type accepts. It is checked to load again."""
        try:
            checked = self._adapter.validate_python(value, by_alias=True, by_name=True)
        except ValidationError as error:
            raise Misfit(problems_of(error)) from error
        return self._dump(self.load(self._storable(checked)))

    def accept(self, value: object) -> Json:
        """The stored form of a caller's value: JSON, or a typed value."""
        return self.store(self.load(value) if isinstance(value, PLAIN_JSON) else value)

    def _dump(self, value: T) -> Json:
        try:
            return self._adapter.dump_python(value, mode="json", round_trip=True, warnings=False)
        except ValueError as error:
            raise Misfit([str(error)]) from error

    def _storable(self, value: T) -> Json:
        dumped = self._dump(value)
        _refuse_unstorable(dumped)
        # In places of type Any, pydantic's JSON form has null for a NaN.
        _refuse_unstorable(self._adapter.dump_python(value, round_trip=True, warnings=False))
        return dumped


def _refuse_unstorable(value: object) -> None:
    try:
        refuse_unstorable(value)
    except ValueError as error:
        raise Misfit([str(error)]) from error


def accepted_keys(name: str, field: FieldInfo) -> tuple[str, ...]:
    """The keys under which a model takes a field: its name and its aliases."""
    alias = field.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    paths = [each if isinstance(each, str) else each.path[0] for each in choices if each is not None]
    return (name, *(str(each) for each in paths))


def problems_of(error: ValidationError) -> list[str]:
    found = error.errors(include_url=False, include_context=False)
    problems = [_problem(each) for each in found[:SHOWN_PROBLEMS]]
    if len(found) > SHOWN_PROBLEMS:
        problems.append(f"… and {len(found) - SHOWN_PROBLEMS} more")
    return problems


def _problem(detail: Any) -> str:
    path = ".".join(str(step) for step in detail["loc"]) or "(value)"
    got = "" if detail["type"] == "missing" else f" (got {shortened(detail['input'])})"
    return f"{path}: {detail['msg']}{got}"
