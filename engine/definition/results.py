"""The results of stage bodies and completion checks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict

from engine.definition.durations import Duration, seconds
from engine.domain.errors import InvalidStageData
from engine.domain.values import Json, as_json


@dataclass(frozen=True, slots=True)
class StageResult[T]:
    """An output, metrics, and named artifacts: text, bytes, the path of a file, or any JSON value."""

    output: T
    custom_metrics: Mapping[str, Json] = field(default_factory=dict)
    artifacts: Mapping[str, str | bytes | Path | Json] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _keep_as_json(self, "custom_metrics")


class SuspendedState(BaseModel):
    """The state of a suspended stage. Durations are in seconds. Its JSON form loads unchanged."""

    model_config = ConfigDict(frozen=True)

    batch_id: str
    submitted_at: AwareDatetime
    poll_interval: float
    max_wait: float
    metadata: Mapping[str, Any] = {}

    @property
    def deadline(self) -> datetime:
        """The time at which the stage fails, if it still waits."""
        return self.submitted_at + timedelta(seconds=self.max_wait)


@dataclass(frozen=True, slots=True)
class Suspended:
    """The stage waits for work that goes on elsewhere under `batch_id`.

    Durations are timedeltas or seconds. `submitted_at` defaults to now, `next_poll_at` to an interval later.
    """

    batch_id: str
    poll_interval: Duration = 30.0
    max_wait: Duration = 86_400.0
    next_poll_at: datetime | None = None
    submitted_at: datetime | None = None
    metadata: Mapping[str, Json] = field(default_factory=dict)
    custom_metrics: Mapping[str, Json] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _keep_as_json(self, "metadata", "custom_metrics")
        try:
            self._check()
        except ValueError as error:
            raise InvalidStageData(f"Suspended: {error}") from error

    def _check(self) -> None:
        batch_id: object = self.batch_id
        if not isinstance(batch_id, str) or not batch_id:
            raise ValueError(f"batch_id must be a text that is not empty, not {self.batch_id!r}")
        if not seconds(self.poll_interval, "poll_interval"):
            raise ValueError("poll_interval must be more than 0 seconds")
        seconds(self.max_wait, "max_wait")
        for name in ("next_poll_at", "submitted_at"):
            moment = getattr(self, name)
            if moment is not None and moment.utcoffset() is None:
                raise ValueError(f"{name} must have a time zone, not {moment!r}")

    def state(self, now: datetime) -> SuspendedState:
        """The stored state. The completion check gets it, and a body that runs again."""
        return SuspendedState(
            batch_id=self.batch_id,
            submitted_at=self.submitted_at or now,
            poll_interval=seconds(self.poll_interval, "poll_interval"),
            max_wait=seconds(self.max_wait, "max_wait"),
            metadata=self.metadata,
        )

    def first_poll(self, now: datetime) -> datetime:
        return self.next_poll_at or now + timedelta(seconds=seconds(self.poll_interval, "poll_interval"))


@dataclass(frozen=True, slots=True)
class Ready[T]:
    """The batch is done. `embeddings` describes its vectors, for `embedding_info`."""

    output: T
    metrics: Mapping[str, Json] = field(default_factory=dict)
    embeddings: Mapping[str, Json] | None = None

    def __post_init__(self) -> None:
        _keep_as_json(self, "metrics", "embeddings")


@dataclass(frozen=True, slots=True)
class NotReady:
    """Ask again after `next_check_in` (timedelta or seconds), else after the stage's poll interval."""

    next_check_in: Duration | None = None

    def __post_init__(self) -> None:
        try:
            _ = self.seconds
        except ValueError as error:
            raise InvalidStageData(f"NotReady: {error}") from error

    @property
    def seconds(self) -> float | None:
        return None if self.next_check_in is None else seconds(self.next_check_in, "next_check_in")


@dataclass(frozen=True, slots=True)
class BatchFailed:
    """The batch failed for good. The stage fails with this text."""

    error: str


type CheckResult[T] = Ready[T] | NotReady | BatchFailed


def _keep_as_json(result: object, *names: str) -> None:
    """Turns the named fields into JSON. Raises `InvalidStageData` when one has no JSON form."""
    for name in names:
        try:
            object.__setattr__(result, name, as_json(getattr(result, name)))
        except ValueError as error:
            raise InvalidStageData(f"{type(result).__name__}({name}=…): {error}") from error
