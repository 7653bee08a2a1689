"""The ledger of model calls, as one family of rows of a transaction (`engine.ports.transaction`)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from engine.domain.ai_calls import AICallRecord, CallTotals, Cap, Spent


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFilter:
    """All conditions must hold. `topic` also finds what lies under it: `a.b` finds `a.b` and `a.b.c`, never `a.bc`."""

    workflow_run_id: str | None = None
    topic: str | None = None


class AICalls(Protocol):
    """A method that adds a SETTLED or FAILED call adds its cost to run, stage and counters in the same transaction.

    So the totals are always the sums of the calls. The run is locked first.
    """

    def find(self, call_id: str) -> AICallRecord | None: ...

    def of_run(self, run_id: str, *, after: str | None = None, limit: int = 1000) -> Sequence[AICallRecord]:
        """By id, so in order of sending; `after` is the last id already seen."""

    def of_batch(self, batch_id: str) -> Sequence[AICallRecord]:
        """By id."""

    def answered_before(self, call: AICallRecord) -> Sequence[AICallRecord]:
        """Calls with the same request hash, run, stage and generation, of earlier attempts, by id: SETTLED ones, and
        RESERVED ones that have become a batch.
        """

    def reserve(self, call: AICallRecord, caps: Sequence[Cap]) -> Cap | None:
        """Inserts a RESERVED call and adds its upper bound to its counters, each in one guarded statement.

        Gives the cap that the call would exceed. The caller then rolls back, because some counters may be changed.
        """

    def settle(self, call: AICallRecord) -> bool:
        """Replaces the RESERVED call of that id by this SETTLED or FAILED one. False if it is not RESERVED."""

    def name_batch(self, call_id: str, batch_id: str) -> None:
        """Stores the id of the batch that a RESERVED call was submitted as."""

    def insert(self, calls: Iterable[AICallRecord]) -> frozenset[str]:
        """Inserts calls without reservations, all of one run and stage. Skips existing ids; gives the others."""

    def totals(self, where: CallFilter) -> Sequence[CallTotals]:
        """Sums by stage, generation, attempt, model, type and state, in that order."""

    def spent(self, run_id: str) -> Mapping[str, Spent]:
        """The cost of the calls of the run's stages over all generations, by stage id."""
