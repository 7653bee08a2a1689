"""The port of batch providers. Each method is one HTTP request, so polling a batch needs no model library."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from engine.ai.messages import Message
from engine.ai.model_info import Usage
from engine.domain.values import Json


class BatchState(StrEnum):
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"  # results are there; some items may have failed
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStatus:
    """The progress of a batch. Counts are 0 when the provider does not report them."""

    batch_id: str
    state: BatchState
    total: int = 0
    succeeded: int = 0
    failed: int = 0
    error: str | None = None

    @property
    def has_ended(self) -> bool:
        return self.state is not BatchState.IN_PROGRESS


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRequest:
    """One item of a batch. `model` is the provider's name of the model; `schema` is a JSON schema of the answer."""

    id: str
    model: str
    messages: tuple[Message, ...]
    max_tokens: int
    temperature: float | None = None
    schema: dict[str, Json] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchAnswer:
    """One item's answer, or its error."""

    id: str
    text: str = ""
    usage: Usage = field(default_factory=Usage)
    error: str | None = None


class BatchProvider(Protocol):
    """Raises `AICallRefused`, or `AICallFailed` for a failure that a retry may cure."""

    def submit(self, requests: Sequence[BatchRequest]) -> str:
        """Gives the batch's id."""

    def status(self, batch_id: str) -> BatchStatus: ...

    def results(self, batch_id: str) -> Sequence[BatchAnswer]:
        """The answers of an ended batch, in any order. A batch that did not complete may have answers too."""
