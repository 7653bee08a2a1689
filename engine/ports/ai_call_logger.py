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
    """The calls under a topic. `unsettled` of them were sent, or about to be, by a process that is gone or still
    waits; they may cost up to `unsettled_cost` more."""

    unsettled: int = 0
    unsettled_cost: float = 0.0
    models: Mapping[str, ModelStats] = field(default_factory=dict)


class AICallLogger(Protocol):
    """Keeps the ledger of model calls. Whatever is logged is in the totals of its run and stage at once."""

    def reserve(self, call: AICallRecord, caps: Sequence[Cap]) -> None:
        """Before a call is sent. Raises `BudgetExceeded`, writing nothing, when a cap does not allow its bound."""

    def settle(self, call: AICallRecord) -> bool:
        """After its answer: the same id, SETTLED or FAILED. False when it is settled already, or gone."""

    def log_call(self, call: AICallRecord) -> bool:
        """A call that nobody reserved. Once for each id; False the second time."""

    def name_batch(self, call_id: str, batch_id: str) -> None:
        """A reserved call of type "batch" has been submitted under this id."""

    def log_batch_results(self, batch_id: str, calls: Sequence[AICallRecord]) -> bool:
        """The calls that a batch was, in place of its reservation. Once for each batch; False when it is recorded."""

    def is_recorded(self, batch_id: str) -> bool: ...

    def batch_calls(self, batch_id: str) -> Sequence[AICallRecord]:
        """The batch's reservation, and its calls once they are recorded."""

    def answered_before(self, call: AICallRecord) -> Sequence[AICallRecord]:
        """The request's settled calls and submitted batches in earlier attempts of the same generation, in order."""

    def get_stats(self, topic_prefix: str) -> TopicStats:
        """Of the topic and all under it; whole segments: `workflow.1` leaves out `workflow.10`."""
