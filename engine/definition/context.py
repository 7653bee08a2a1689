"""The contexts of stage bodies and completion checks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from inspect import iscoroutinefunction
from math import isfinite
from typing import Any, Protocol, overload

from engine.definition.body_context import BodyContext
from engine.definition.capabilities import Cancellation, Outputs
from engine.definition.memory import MemoryCancellation, MemoryOutputs, MemoryRecorder, MemoryStorage
from engine.definition.results import SuspendedState
from engine.definition.schemas import NoConfig
from engine.domain.blob_keys import artifact_name
from engine.domain.errors import InvalidStageData, MissingStageOutput, StageCancelled
from engine.domain.values import Json, as_json, as_readable_json


class OutputKey[Out](Protocol):
    """The part of a stage that is needed to read its output."""

    @property
    def id(self) -> str: ...
    def load_output(self, value: Json) -> Out: ...
    def validate_output(self, value: object) -> Json: ...


class WorkflowContext(Mapping[str, Json]):
    """The outputs of earlier groups as JSON, by stage id. Each is read at its first use and cached."""

    def __init__(self, outputs: Outputs) -> None:
        self._outputs = outputs
        self._loaded: dict[str, Json] = {}

    def __getitem__(self, stage_id: str) -> Json:
        if stage_id not in self._loaded:
            self._loaded[stage_id] = self._outputs.load(stage_id)
        return self._loaded[stage_id]

    def __contains__(self, stage_id: object) -> bool:
        return stage_id in self._outputs.available()

    def __iter__(self) -> Iterator[str]:
        return iter(self._outputs.available())

    def __len__(self) -> int:
        return len(self._outputs.available())


@dataclass(frozen=True, kw_only=True)
class CheckContext[Config = NoConfig](BodyContext[Config]):
    """The context of `check_completion`. The suspended state is its other argument."""

    @overload
    @staticmethod
    def for_test[C](*, config: C, **fields: Any) -> HandMadeCheckContext[C]: ...
    @overload
    @staticmethod
    def for_test(**fields: Any) -> HandMadeCheckContext[NoConfig]: ...
    @staticmethod
    def for_test(*, config: Any = None, **fields: Any) -> Any:
        """A context for calling a completion check in a unit test; see `StageContext.for_test`."""
        return HandMadeCheckContext(config=NoConfig() if config is None else config, **{**IDENTITY, **fields})


@dataclass(frozen=True, kw_only=True)
class StageContext[In, Config = NoConfig](BodyContext[Config]):
    """The context of a stage body.

    `attempt` counts the tries of this job from 1; `generation` counts the reruns from 0. The body must end before
    `deadline`; a host that shuts down may release the stage sooner.
    """

    input: In
    attempt: int
    outputs: Outputs = field(repr=False)
    cancellation: Cancellation = field(repr=False)
    resume_state: SuspendedState | None = None
    deadline: datetime | None = None

    @cached_property
    def workflow_context(self) -> Mapping[str, Json]:
        """The outputs of earlier groups as JSON, by stage id. Each blob is read when it is used."""
        return WorkflowContext(self.outputs)

    @overload
    def require[T](self, stage: OutputKey[T], /) -> T: ...
    @overload
    def require(self, stage: str, /) -> Json: ...
    def require(self, stage: OutputKey[Any] | str, /) -> Any:
        """The output of an earlier stage: the typed value for a `Stage`, JSON for an id.

        Raises `MissingStageOutput` when the stage has no output in this run.
        """
        stage_id = stage if isinstance(stage, str) else stage.id
        try:
            value = self.workflow_context[stage_id]
        except KeyError:
            raise MissingStageOutput(stage_id, tuple(self.workflow_context)) from None
        return value if isinstance(stage, str) else stage.load_output(value)

    @overload
    def optional[T](self, stage: OutputKey[T], /) -> T | None: ...
    @overload
    def optional(self, stage: str, /) -> Json: ...
    def optional(self, stage: OutputKey[Any] | str, /) -> Any:
        """Like `require`, but None when the stage has no output in this run."""
        try:
            return self.require(stage)
        except MissingStageOutput:
            return None

    def on_progress(self, progress: float, message: str | None = None, details: Json = None) -> None:
        """Report the progress, from 0 to 1, with a text and any JSON for observers."""
        if isinstance(progress, bool) or not isfinite(progress) or not 0 <= progress <= 1:
            raise ValueError(f"progress goes from 0 to 1, not {progress!r}; divide percentages by 100")
        self.recorder.progress(float(progress), message, as_readable_json(details))

    @property
    def cancelled(self) -> bool:
        """True when the run was cancelled, as of the last heartbeat."""
        return self.cancellation.cancelled

    def raise_if_cancelled(self) -> None:
        """Raises `StageCancelled` once the run has been cancelled."""
        if self.cancelled:
            raise StageCancelled(f"run {self.workflow_run_id!r} was cancelled; stage {self.stage_id!r} stopped")

    @overload
    def once(self, key: str, fn: Callable[[], Awaitable[Json]], /) -> Awaitable[Json]: ...
    @overload
    def once(self, key: str, fn: Callable[[], Json], /) -> Json: ...
    def once(self, key: str, fn: Callable[[], Any], /) -> Any:
        """Calls `fn` and stores its result under `key` for this generation: a later attempt does not call it again.

        The result must be JSON. It is awaitable when `fn` is an `async def`. After a crash between the call and the
        store, `fn` is called once more.
        """
        name = f"once/{artifact_name(key)}.json"
        if iscoroutinefunction(fn):
            return self._once_async(name, fn)
        return self.storage.load(name)["value"] if self.storage.exists(name) else self._remember(name, fn())

    async def _once_async(self, name: str, fn: Callable[[], Awaitable[Json]]) -> Json:
        return self.storage.load(name)["value"] if self.storage.exists(name) else self._remember(name, await fn())

    def _remember(self, name: str, result: object) -> Json:
        try:
            value = as_json(result)
        except ValueError as error:
            raise InvalidStageData(f"stage {self.stage_id!r}: a result of once() must be JSON: {error}") from error
        self.storage.save(name, {"value": value})
        return value

    @overload
    @staticmethod
    def for_test[I, C](
        *,
        input: I,
        config: C,
        outputs: Mapping[Any, object] | None = None,
        **fields: Any,
    ) -> HandMadeContext[I, C]: ...
    @overload
    @staticmethod
    def for_test[I](
        *,
        input: I,
        outputs: Mapping[Any, object] | None = None,
        **fields: Any,
    ) -> HandMadeContext[I, NoConfig]: ...
    @staticmethod
    def for_test(*, config: Any = None, outputs: Mapping[Any, object] | None = None, **fields: Any) -> Any:
        """A context for calling a stage in a unit test. `outputs` maps stages or ids to their outputs.

        Its `recorder` and `storage` keep everything in memory; other fields are given by name.
        """
        given = {"outputs": MemoryOutputs(_stored(outputs or {})), **IDENTITY, "attempt": 1, **fields}
        return HandMadeContext(config=NoConfig() if config is None else config, **given)


@dataclass(frozen=True, kw_only=True)
class HandMadeContext[In, Config = NoConfig](StageContext[In, Config]):
    """A context made by `StageContext.for_test`: notes and blobs stay in memory."""

    recorder: MemoryRecorder = field(default_factory=MemoryRecorder)
    storage: MemoryStorage = field(default_factory=MemoryStorage)
    cancellation: MemoryCancellation = field(default_factory=MemoryCancellation)


@dataclass(frozen=True, kw_only=True)
class HandMadeCheckContext[Config = NoConfig](CheckContext[Config]):
    """A context made by `CheckContext.for_test`: notes and blobs stay in memory."""

    recorder: MemoryRecorder = field(default_factory=MemoryRecorder)
    storage: MemoryStorage = field(default_factory=MemoryStorage)


IDENTITY: Mapping[str, Any] = {
    "workflow_run_id": "run-1",
    "workflow_id": "workflow",
    "stage_id": "stage",
    "stage_name": "Stage",
    "stage_number": 1,
    "stage_record_id": "stage-record-1",
    "generation": 0,
}


def _stored(outputs: Mapping[Any, object]) -> dict[str, Json]:
    return {
        key if isinstance(key, str) else key.id: as_json(value) if isinstance(key, str) else key.validate_output(value)
        for key, value in outputs.items()
    }
