"""A stage: a body with typed input, output and config."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from inspect import iscoroutinefunction
from typing import Any, Literal

from engine.definition.budget import Budget
from engine.definition.context import CheckContext, StageContext
from engine.definition.results import CheckResult, StageResult, Suspended, SuspendedState
from engine.definition.retry import RetryPolicy
from engine.definition.schemas import Misfit, NoInput, Schema
from engine.domain.errors import DefinitionError, InvalidStageData
from engine.domain.values import Json

type Check[Out, Config] = Callable[
    [SuspendedState, CheckContext[Config]], CheckResult[Out] | Awaitable[CheckResult[Out]]
]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Stage[In, Out, Config]:
    """One step of a workflow, made by `define_stage`.

    A call of the stage calls its body without validation, for unit tests. `ctx.require` takes it as a typed key.
    """

    id: str
    name: str
    body: Callable[[StageContext[In, Config]], Any]
    input_type: Schema[Any]
    output_type: Schema[Out]
    config_type: Schema[Any]
    description: str = ""
    dependencies: tuple[str, ...] = ()
    mode: Literal["sync", "async-batch"] = "sync"
    pool: str = "default"
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    timeout: timedelta | None = None
    estimate_cost: Callable[[Any, Config], float] | None = None
    budget: Budget | None = None

    def __call__(self, ctx: StageContext[In, Config]) -> Any:
        return self.body(ctx)

    def __repr__(self) -> str:
        return f"<stage {self.id!r}>"

    @property
    def is_async(self) -> bool:
        """True when the body is an `async def`."""
        return iscoroutinefunction(self.body) or iscoroutinefunction(type(self.body).__call__)

    @property
    def check(self) -> Check[Out, Config] | None:
        """The completion check; None for a stage that cannot suspend."""
        return None

    @property
    def takes_no_input(self) -> bool:
        return self.input_type.takes_nothing

    @property
    def input_schema(self) -> Mapping[str, Json]:
        return self.input_type.json_schema

    @property
    def output_schema(self) -> Mapping[str, Json]:
        return self.output_type.json_schema

    @property
    def config_schema(self) -> Mapping[str, Json]:
        return self.config_type.json_schema

    def validate_input(self, value: Json) -> Any:
        """The typed input. A stage without input ignores it. Raises `InvalidStageData` when it does not fit."""
        return NoInput() if self.takes_no_input else self._load("input", self.input_type, value)

    def validate_config(self, value: Mapping[str, Json]) -> Any:
        """The typed config with its defaults. Raises `InvalidStageData` when it does not fit."""
        return self._load("config", self.config_type, dict(value))

    def validate_output(self, value: object) -> Json:
        """The stored form of a body's output. Raises `InvalidStageData` when it does not fit."""
        try:
            return self.output_type.store(value)
        except Misfit as misfit:
            raise self._invalid("output", self.output_type, misfit) from misfit

    def load_output(self, value: Json) -> Out:
        """The typed value of a stored output. Raises `InvalidStageData` when it does not fit any more."""
        return self._load("output", self.output_type, value)

    def outcome(self, returned: object) -> StageResult[Any] | Suspended:
        """A body's result as a `StageResult` or `Suspended`. The output is not validated yet.

        Raises `InvalidStageData` when a stage suspends that is no async-batch stage.
        """
        match returned:
            case Suspended() if self.mode == "sync":
                raise InvalidStageData(f"stage {self.id!r} returned Suspended; make it with define_async_batch_stage")
            case Suspended() | StageResult():
                return returned
            case _:
                return StageResult(returned)

    def _load[T](self, role: str, schema: Schema[T], value: Json) -> T:
        try:
            return schema.load(value)
        except Misfit as misfit:
            raise self._invalid(role, schema, misfit) from misfit

    def _invalid(self, role: str, schema: Schema[Any], misfit: Misfit) -> InvalidStageData:
        return InvalidStageData(f"stage {self.id!r}: its {role} does not fit {schema.name}\n{misfit}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class AsyncBatchStage[In, Out, Config](Stage[In, Out, Config]):
    """A stage that can suspend, made by `define_async_batch_stage`. Building needs its `check_completion`."""

    _checks: list[Check[Out, Config]] = field(default_factory=list)

    @property
    def check(self) -> Check[Out, Config] | None:
        return self._checks[0] if self._checks else None

    def check_completion(self, check: Check[Out, Config]) -> Check[Out, Config]:
        """Decorator of the function that checks whether the batch is done. It can be set once."""
        if self._checks:
            raise DefinitionError(f"stage {self.id!r} already has a check_completion")
        self._checks.append(check)
        return check
