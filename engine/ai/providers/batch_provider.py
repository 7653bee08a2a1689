"""What a provider of batches does. One HTTP request for each method, so polling a batch needs no model library."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from engine.ai.messages import Message
from engine.ai.model_info import Usage
from engine.domain.stored_value import Json


class BatchState(StrEnum):
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"  # it has results, though some items may have failed
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStatus:
    """How far a batch is. Counts are 0 where the provider does not say."""

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
    """One item. `model` is the provider's own name of it; `schema` is a JSON schema the answer has to fit."""

    id: str
    model: str
    messages: tuple[Message, ...]
    max_tokens: int
    temperature: float | None = None
    schema: dict[str, Json] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchAnswer:
    """One item's answer, or why there is none."""

    id: str
    text: str = ""
    usage: Usage = field(default_factory=Usage)
    error: str | None = None


class BatchProvider(Protocol):
    """Raises `AICallRefused`, or `AICallFailed` for what may go better later."""

    def submit(self, requests: Sequence[BatchRequest]) -> str:
        """Gives the batch's id."""

    def status(self, batch_id: str) -> BatchStatus: ...

    def results(self, batch_id: str) -> Sequence[BatchAnswer]:
        """Of a batch that has ended, in any order. One that did not complete may have answers too, which cost."""
