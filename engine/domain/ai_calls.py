"""Model calls, one record for each request, and the counters of their cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from engine.domain.values import Json


class CallState(StrEnum):
    RESERVED = "RESERVED"  # no answer yet, or the process died: the cost is unknown
    SETTLED = "SETTLED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class AICallRecord:
    """A call of a model. Costs are US dollars; None means unknown, which is not the same as 0.

    `generation` and `attempt` are those of the stage that made the call. `reserved_cost` and `reserved_tokens` are
    upper bounds, known before it is sent. `scope` names the counter for the budget of the stage or helper; the run has
    a counter of its own. Input tokens include cached ones, output tokens include reasoning.
    """

    id: str
    topic: str
    call_type: str
    model_key: str
    state: CallState
    created_at: datetime
    updated_at: datetime
    workflow_run_id: str | None = None
    stage_record_id: str | None = None
    stage_id: str | None = None
    generation: int = 0
    attempt: int = 0
    scope: str | None = None
    model_id: str = ""
    provider: str = ""
    prompt: Json = None
    response: Json = None
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cost: float | None = None
    reserved_cost: float | None = None
    reserved_tokens: int = 0
    duration_ms: int | None = None
    batch_id: str | None = None
    request_hash: str | None = None
    error: str | None = None
    metadata: Mapping[str, Json] | None = None

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    @property
    def counters(self) -> tuple[str, ...]:
        """The counters that this call is added to, the run's first."""
        run = () if self.workflow_run_id is None else (run_scope(self.workflow_run_id),)
        return (*run, *(() if self.scope is None or self.scope in run else (self.scope,)))

    @property
    def keeps_reservation(self) -> bool:
        """True for a failed call of unknown cost: caps continue to count its upper bound."""
        return self.state is CallState.FAILED and self.cost is None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendingRecord:
    """The counter of a run, a stage or a helper: the cost of its settled calls, and the reservations of open ones."""

    scope: str
    workflow_run_id: str | None = None
    stage_id: str | None = None
    spent_cost: float = 0.0
    spent_tokens: int = 0
    reserved_cost: float = 0.0
    reserved_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """The limit of a counter, for spent and reserved amounts together. None means no limit."""

    scope: str
    max_cost: float | None = None
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Spent:
    """An amount spent: US dollars and tokens."""

    cost: float = 0.0
    tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTotals:
    """Sums over the calls with these six properties. `cost` excludes calls of `unknown` cost."""

    stage_id: str | None
    generation: int
    attempt: int
    model_key: str
    call_type: str
    state: CallState
    calls: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    cost: float
    unknown: int
    reserved_cost: float


SLACK = 1e-9
"""Tolerance in dollars for the rounding of floating-point sums."""


def run_scope(run_id: str) -> str:
    return f"workflow.{run_id}"


def stage_scope(run_id: str, stage_id: str) -> str:
    return f"workflow.{run_id}.stage.{stage_id}"
