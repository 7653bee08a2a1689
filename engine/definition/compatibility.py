"""Decides whether the stored form of one type can fit another type.

It refuses only certain misfits, and text for a number: text is never taken as a number, even if it holds digits.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from datetime import date, datetime, time, timedelta
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin
from uuid import UUID

from pydantic import BaseModel, RootModel
from pydantic.fields import FieldInfo

from engine.definition.schemas import accepted_keys

type Shape = Any
"""A type, or a mapping of keys to types: the output of a parallel group."""

TEXT, NUMBER, INTEGER, BOOLEAN, NULL, ARRAY, OBJECT = (
    "text",
    "number",
    "integer",
    "boolean",
    "null",
    "array",
    "object",
)

REWRITING = {"coerce_numbers_to_str", "json_encoders"}
TEMPORAL = {TEXT, INTEGER, NUMBER}
NUMERIC = {BOOLEAN, INTEGER, NUMBER}

GIVES: Mapping[Any, Set[str]] = {
    str: {TEXT},
    bytes: {TEXT},
    UUID: {TEXT},
    int: {INTEGER},
    float: {NUMBER},
    bool: {BOOLEAN},
    NoneType: {NULL},
    None: {NULL},
    list: {ARRAY},
    tuple: {ARRAY},
    set: {ARRAY},
    frozenset: {ARRAY},
    dict: {OBJECT},
}
TAKES: Mapping[Any, Set[str]] = {
    **GIVES,
    int: NUMERIC,
    float: NUMERIC,
    bool: NUMERIC,
    datetime: TEMPORAL,
    date: TEMPORAL,
    time: TEMPORAL,
    timedelta: TEMPORAL,
}


def mismatches(given: Shape, wanted: Shape, path: str = "") -> Iterator[str]:
    """The reasons why a value of the first type never fits the second; empty when it may fit."""
    gives, takes = _kinds(given, GIVES), _kinds(wanted, TAKES)
    if given is wanted or gives is None or takes is None:
        return
    if not gives & takes:
        yield f"{path or 'the value'} is {_listed(gives)} but {_listed(takes)} is needed"
        return
    available, required = _keys(given), _fields(wanted)
    if available is not None and required is not None:
        yield from _object_mismatches(available, required, path)


def _object_mismatches(
    available: Mapping[str, Shape], required: Iterable[tuple[str, FieldInfo]], path: str
) -> Iterator[str]:
    for name, field in required:
        key = next((each for each in accepted_keys(name, field) if each in available), None)
        where = f"{path}.{name}".lstrip(".")
        if key is not None:
            if not field.metadata:
                yield from mismatches(available[key], field.annotation, where)
        elif field.is_required():
            yield f"{where} is missing"


def _kinds(shape: Shape, table: Mapping[Any, Set[str]]) -> Set[str] | None:
    """The JSON kinds of a type; None when unknown."""
    if isinstance(shape, Mapping):
        return {OBJECT}
    origin: Any = get_origin(shape)
    if origin in (Union, UnionType):
        members = [_kinds(each, table) for each in get_args(shape)]
        return None if None in members else frozenset().union(*(each for each in members if each is not None))
    if _is_plain_model(shape):
        return {OBJECT}
    return table.get(origin or shape)


def _is_plain_model(shape: Shape) -> bool:
    """A model whose stored form depends on its fields only."""
    if not isinstance(shape, type) or not issubclass(shape, BaseModel) or issubclass(shape, RootModel):
        return False
    if not shape.__pydantic_complete__ or REWRITING & shape.model_config.keys():
        return False
    hooks = shape.__pydantic_decorators__
    rewriting = [each for each in hooks.model_validators.values() if each.info.mode != "after"]
    return not (rewriting or hooks.model_serializers or hooks.field_serializers or hooks.field_validators)


def _keys(shape: Shape) -> Mapping[str, Shape] | None:
    """All keys that a stored value can have; None when others are possible."""
    if isinstance(shape, Mapping):
        return shape
    if not _is_plain_model(shape) or shape.model_config.get("extra") == "allow":
        return None
    by_alias = shape.model_config.get("serialize_by_alias")
    fields = shape.model_fields.items()
    return {
        (each.serialization_alias if by_alias else None) or name: Any if each.metadata else each.annotation
        for name, each in fields
    }


def _fields(shape: Shape) -> Sequence[tuple[str, FieldInfo]] | None:
    return tuple(shape.model_fields.items()) if _is_plain_model(shape) else None


def _listed(kinds: Set[str]) -> str:
    return " or ".join(sorted(kinds))
