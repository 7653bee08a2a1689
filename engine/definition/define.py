"""`define_stage` and `define_async_batch_stage` make a stage of a function and its annotations."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from inspect import isasyncgenfunction, isgeneratorfunction
from typing import Any, Required, TypedDict, Unpack, overload

from pydantic import BaseModel
from pydantic.errors import PydanticUserError

from engine.definition.budget import Budget
from engine.definition.context import StageContext
from engine.definition.durations import Duration, seconds
from engine.definition.results import StageResult, Suspended
from engine.definition.retry import RetryPolicy
from engine.definition.schemas import NoConfig, Schema
from engine.definition.signature import MISSING, StageTypes, read_types
from engine.definition.stage import AsyncBatchStage, Stage
from engine.definition.stage_ids import check_id
from engine.domain.errors import DefinitionError


class StageOptions(TypedDict, total=False):
    """The options of both kinds of stage. `input`, `output` and `config` override the body's annotations."""

    id: Required[str]
    name: Required[str]
    description: str
    dependencies: Iterable[str]
    input: Any
    output: Any
    config: type[BaseModel]
    retry: RetryPolicy
    timeout: Duration
    estimate_cost: Callable[[Any, Any], float]
    pool: str
    budget: Budget


type Body[In, Config, Returned] = Callable[[StageContext[In, Config]], Returned]


@dataclass(frozen=True, slots=True)
class StageDecorator:
    """Makes a stage of the function it decorates."""

    options: StageOptions

    @overload
    def __call__[In, Out, C](self, body: Body[In, C, Awaitable[StageResult[Out]]], /) -> Stage[In, Out, C]: ...
    @overload
    def __call__[In, Out, C](self, body: Body[In, C, Awaitable[Out | StageResult[Out]]], /) -> Stage[In, Out, C]: ...
    @overload
    def __call__[In, Out, C](self, body: Body[In, C, StageResult[Out]], /) -> Stage[In, Out, C]: ...
    @overload
    def __call__[In, Out, C](self, body: Body[In, C, Out | StageResult[Out]], /) -> Stage[In, Out, C]: ...
    def __call__(self, body: Body[Any, Any, Any], /) -> Stage[Any, Any, Any]:
        return Stage(mode="sync", **_fields(self.options, body, suspends=False))


@dataclass(frozen=True, slots=True)
class AsyncBatchStageDecorator:
    """Makes an async-batch stage of the function it decorates."""

    options: StageOptions

    @overload
    def __call__[In, Out, C](
        self, body: Body[In, C, Awaitable[StageResult[Out] | Suspended]], /
    ) -> AsyncBatchStage[In, Out, C]: ...
    @overload
    def __call__[In, Out, C](
        self, body: Body[In, C, Awaitable[Out | StageResult[Out] | Suspended]], /
    ) -> AsyncBatchStage[In, Out, C]: ...
    @overload
    def __call__[In, Out, C](
        self, body: Body[In, C, StageResult[Out] | Suspended], /
    ) -> AsyncBatchStage[In, Out, C]: ...
    @overload
    def __call__[In, Out, C](
        self, body: Body[In, C, Out | StageResult[Out] | Suspended], /
    ) -> AsyncBatchStage[In, Out, C]: ...
    def __call__(self, body: Body[Any, Any, Any], /) -> AsyncBatchStage[Any, Any, Any]:
        return AsyncBatchStage(mode="async-batch", **_fields(self.options, body, suspends=True))


@overload
def define_stage(**options: Unpack[StageOptions]) -> StageDecorator: ...
@overload
def define_stage[In, Out, C](
    *, execute: Body[In, C, Awaitable[Out | StageResult[Out]]], **options: Unpack[StageOptions]
) -> Stage[In, Out, C]: ...
@overload
def define_stage[In, Out, C](
    *, execute: Body[In, C, Out | StageResult[Out]], **options: Unpack[StageOptions]
) -> Stage[In, Out, C]: ...
def define_stage(*, execute: Any = None, **options: Unpack[StageOptions]) -> Any:
    """A stage that runs to its end: a decorator, or the stage itself when `execute` is given.

    The types come from the annotations: `def body(ctx: StageContext[Input, Config]) -> Output`, `async` or
    not; a body returns the output or a `StageResult`. `timeout` is a timedelta or seconds. `estimate_cost`,
    called with the workflow's input and the config, gives US dollars; `budget` caps its spending on models.
    Raises `DefinitionError` when an argument is missing or cannot be used.
    """
    decorator = StageDecorator(options)
    return decorator if execute is None else decorator(execute)


@overload
def define_async_batch_stage(**options: Unpack[StageOptions]) -> AsyncBatchStageDecorator: ...
@overload
def define_async_batch_stage[In, Out, C](
    *, execute: Body[In, C, Awaitable[Out | StageResult[Out] | Suspended]], **options: Unpack[StageOptions]
) -> AsyncBatchStage[In, Out, C]: ...
@overload
def define_async_batch_stage[In, Out, C](
    *, execute: Body[In, C, Out | StageResult[Out] | Suspended], **options: Unpack[StageOptions]
) -> AsyncBatchStage[In, Out, C]: ...
def define_async_batch_stage(*, execute: Any = None, **options: Unpack[StageOptions]) -> Any:
    """Like `define_stage`, for a body that may return `Suspended` and has a `check_completion`."""
    decorator = AsyncBatchStageDecorator(options)
    return decorator if execute is None else decorator(execute)


def _fields(options: StageOptions, body: Body[Any, Any, Any], *, suspends: bool) -> dict[str, Any]:
    _check_options(options)
    what = f"stage {check_id('stage', options['id'])!r}"
    if isgeneratorfunction(body) or isasyncgenfunction(body):
        raise DefinitionError(f"{what}: its body yields; return the output as a whole")
    types = _types(options, body, what)
    if types.suspends and not suspends:
        raise DefinitionError(f"{what}: its body returns Suspended; use define_async_batch_stage")
    fields: dict[str, Any] = {
        "id": options["id"],
        "name": options["name"],
        "body": body,
        "input_type": _schema(types.input, what, "input"),
        "output_type": _schema(types.output, what, "output"),
        "config_type": _schema(_config_model(types.config, what), what, "config"),
        "description": options.get("description", ""),
        "dependencies": _dependencies(options.get("dependencies", ()), what),
        "pool": check_id("pool", options.get("pool", "default")),
        "retry": _retry(options.get("retry", RetryPolicy()), what),
        "timeout": _timeout(options.get("timeout"), what),
        "estimate_cost": options.get("estimate_cost"),
        "budget": options.get("budget"),
    }
    return fields


def _check_options(options: StageOptions) -> None:
    unknown = options.keys() - StageOptions.__annotations__
    missing = StageOptions.__required_keys__ - options.keys()
    if unknown or missing:
        problem = "unknown: " + ", ".join(sorted(unknown)) if unknown else "missing: " + ", ".join(sorted(missing))
        raise TypeError(f"define_stage options of stage {options.get('id')!r}: {problem}")


def _types(options: StageOptions, body: Body[Any, Any, Any], what: str) -> StageTypes:
    given: dict[str, Any] = {
        role: options[role] for role in ("input", "output", "config") if options.get(role) is not None
    }
    if len(given) == 3:
        return StageTypes(**given)
    read = read_types(body, what)
    declared = {"input": read.input, "output": read.output, "config": read.config} | given
    return StageTypes(suspends=read.suspends, **declared)


def _schema(declared: Any, what: str, role: str) -> Schema[Any]:
    if declared is MISSING:
        raise DefinitionError(f"{what}: its {role} type is missing; annotate the body, {HINTS[role]}, or pass {role}=")
    try:
        return Schema(declared)
    except (PydanticUserError, NameError) as error:
        raise DefinitionError(f"{what}: its {role} type {declared!r} cannot be used: {error}") from error


HINTS = {
    "input": "ctx: StageContext[Input, Config], with NoInput for none",
    "output": "-> Output",
    "config": "ctx: StageContext[Input, Config]",
}


def _config_model(declared: Any, what: str) -> type[BaseModel]:
    if declared is MISSING:
        return NoConfig
    if not (isinstance(declared, type) and issubclass(declared, BaseModel)):
        raise DefinitionError(f"{what}: its config type must be a pydantic model, not {declared!r}")
    return declared


def _dependencies(given: Iterable[str], what: str) -> tuple[str, ...]:
    if isinstance(given, str):
        raise DefinitionError(f"{what}: dependencies must be a list of stage ids, not the text {given!r}")
    return tuple(check_id("stage", each) for each in given)


def _retry(given: object, what: str) -> RetryPolicy:
    if not isinstance(given, RetryPolicy):
        raise DefinitionError(
            f"{what}: retry must be a RetryPolicy, such as RetryPolicy(max_attempts=3), not {given!r}"
        )
    return given


def _timeout(given: Duration | None, what: str) -> timedelta | None:
    if given is None:
        return None
    try:
        limit = timedelta(seconds=seconds(given, "timeout"))
    except ValueError as error:
        raise DefinitionError(f"{what}: {error}") from error
    if not limit:
        raise DefinitionError(f"{what}: timeout must be more than 0 seconds")
    return limit
