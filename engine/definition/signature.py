"""Reads a stage's types from the annotations of its body."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import UnionType
from typing import Any, TypeAliasType, Union, get_args, get_origin

from engine.definition.context import StageContext
from engine.definition.results import StageResult, Suspended
from engine.domain.errors import DefinitionError

MISSING = inspect.Signature.empty


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTypes:
    """The declared types; `MISSING` where none was declared."""

    input: Any = MISSING
    output: Any = MISSING
    config: Any = MISSING
    suspends: bool = False


def read_types(body: Callable[..., object], what: str) -> StageTypes:
    """The types in a body's annotations. Raises `DefinitionError` when they cannot be resolved or used."""
    union: Any = Union
    signature = _signature(body, what)
    parameters = [each for each in signature.parameters.values() if each.default is MISSING]
    if len(parameters) != 1 or parameters[0].kind not in (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    ):
        raise DefinitionError(f"{what}: its body must take one argument, the context")
    declared_input, config = _context_types(parameters[0].annotation, what)
    members = list(_members(signature.return_annotation))
    outputs = tuple(_output_of(each) for each in members if each is not Suspended)
    return StageTypes(
        input=declared_input,
        config=config,
        output=union[outputs] if outputs and MISSING not in outputs else MISSING,
        suspends=Suspended in members,
    )


def _signature(body: Callable[..., object], what: str) -> inspect.Signature:
    try:
        return inspect.signature(body, eval_str=True)
    except (NameError, AttributeError, TypeError, SyntaxError, ValueError) as error:
        raise DefinitionError(
            f"{what}: the annotations of its body cannot be resolved ({error}); "
            "define the types at module level, or pass input=, output= and config="
        ) from error


def _context_types(annotation: Any, what: str) -> tuple[Any, Any]:
    if annotation is MISSING or annotation is StageContext:
        return MISSING, MISSING
    if get_origin(annotation) is not StageContext:
        raise DefinitionError(
            f"{what}: its body takes {annotation!r}; annotate the argument as StageContext[Input, Config]"
        )
    declared_input, config = get_args(annotation)
    return declared_input, config


def _members(annotation: Any) -> Iterator[Any]:
    if isinstance(annotation, TypeAliasType):
        annotation = annotation.__value__
    if get_origin(annotation) in (Union, UnionType):
        for each in get_args(annotation):
            yield from _members(each)
    else:
        yield annotation


def _output_of(annotation: Any) -> Any:
    if annotation is StageResult:
        return MISSING
    return get_args(annotation)[0] if get_origin(annotation) is StageResult else annotation
