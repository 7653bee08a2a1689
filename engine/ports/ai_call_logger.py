from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from engine.domain.ai_calls import AICallRecord, Cap


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStats:
    """`cost` in US dollars, without the calls whose cost is `unknown`."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    unknown: int = 0

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicStats(ModelStats):
    """The calls under a topic. `unsettled` counts the calls that are still reserved, because they are open or their
    process died; they may cost up to `unsettled_cost` more."""

    unsettled: int = 0
    unsettled_cost: float = 0.0
    models: Mapping[str, ModelStats] = field(default_factory=dict)


class AICallLogger(Protocol):
    """The ledger of model calls. Each logged call is part of the totals of its run and stage at once."""

    def reserve(self, call: AICallRecord, caps: Sequence[Cap]) -> None:
        """Called before a call is sent. Raises `BudgetExceeded`, and writes nothing, if its bound exceeds a cap."""

    def settle(self, call: AICallRecord) -> bool:
        """Called after the answer, with the same id, SETTLED or FAILED. False if the call is not reserved any more."""

    def log_call(self, call: AICallRecord) -> bool:
        """Logs a call without a reservation, once for each id. False if the id exists."""

    def name_batch(self, call_id: str, batch_id: str) -> None:
        """Stores the provider's id with the reserved call of type "batch"."""

    def log_batch_results(self, batch_id: str, calls: Sequence[AICallRecord]) -> bool:
        """Replaces the reservation of a batch by its calls, once for each batch. False if they are recorded already."""

    def is_recorded(self, batch_id: str) -> bool: ...

    def batch_calls(self, batch_id: str) -> Sequence[AICallRecord]:
        """The batch's reservation, and its calls once they are recorded."""

    def answered_before(self, call: AICallRecord) -> Sequence[AICallRecord]:
        """The request's settled calls and submitted batches in earlier attempts of the same generation, in order."""

    def get_stats(self, topic_prefix: str) -> TopicStats:
        """Of the topic and all under it; whole segments: `workflow.1` leaves out `workflow.10`."""
