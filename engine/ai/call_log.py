"""The call logger over any `Persistence`, with one transaction for each entry."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from engine.domain.ai_calls import AICallRecord, CallState, CallTotals, Cap
from engine.domain.errors import BudgetExceeded
from engine.domain.limits import TOPIC, check_length
from engine.ports.ai_call_logger import ModelStats, TopicStats
from engine.ports.ai_calls import CallFilter
from engine.ports.persistence import Persistence
from engine.ports.transaction import Tx

BATCH = "batch"
"""The type of the call that reserves for a whole batch. The batch's items carry the cost."""


class CallLog:
    def __init__(self, persistence: Persistence) -> None:
        self._persistence = persistence

    def reserve(self, call: AICallRecord, caps: Sequence[Cap]) -> None:
        def work(tx: Tx) -> None:
            refused = tx.ai_calls.reserve(_at(call, tx), caps)
            if refused is not None:
                raise BudgetExceeded(_why(call, refused))

        self._persistence.transact(work)

    def settle(self, call: AICallRecord) -> bool:
        return self._persistence.transact(lambda tx: tx.ai_calls.settle(replace(call, updated_at=tx.now())))

    def log_call(self, call: AICallRecord) -> bool:
        return bool(self._persistence.transact(lambda tx: tx.ai_calls.insert([_at(call, tx)])))

    def name_batch(self, call_id: str, batch_id: str) -> None:
        check_length("batch_id", batch_id, TOPIC)
        self._persistence.transact(lambda tx: tx.ai_calls.name_batch(call_id, batch_id))

    def log_batch_results(self, batch_id: str, calls: Sequence[AICallRecord]) -> bool:
        def work(tx: Tx) -> bool:
            if not _close(batch_id, calls, tx):
                return False
            tx.ai_calls.insert([_at(replace(call, batch_id=batch_id), tx) for call in calls])
            return True

        return self._persistence.transact(work)

    def is_recorded(self, batch_id: str) -> bool:
        return any(call.state is not CallState.RESERVED for call in self.batch_calls(batch_id))

    def batch_calls(self, batch_id: str) -> Sequence[AICallRecord]:
        return self._persistence.read(lambda tx: tx.ai_calls.of_batch(batch_id))

    def answered_before(self, call: AICallRecord) -> Sequence[AICallRecord]:
        return self._persistence.read(lambda tx: tx.ai_calls.answered_before(call))

    def get_stats(self, topic_prefix: str) -> TopicStats:
        return stats_of(self._persistence.read(lambda tx: tx.ai_calls.totals(CallFilter(topic=topic_prefix))))


def _close(batch_id: str, calls: Sequence[AICallRecord], tx: Tx) -> bool:
    """Ends the batch's reservation, or marks the batch as recorded. False when it was recorded before."""
    reserved = next((call for call in tx.ai_calls.of_batch(batch_id) if call.call_type == BATCH), None)
    if reserved is not None:
        done = replace(reserved, state=CallState.SETTLED, cost=0.0, updated_at=tx.now())
        return tx.ai_calls.settle(done)
    if not calls:
        return True
    mark = replace(
        calls[0],
        id=f"{BATCH}:{batch_id}",
        call_type=BATCH,
        batch_id=batch_id,
        state=CallState.SETTLED,
        cost=0.0,
        input_tokens=0,
        output_tokens=0,
        cached_tokens=0,
        reasoning_tokens=0,
        prompt=None,
        response=None,
        error=None,
    )
    return bool(tx.ai_calls.insert([_at(mark, tx)]))


def _at(call: AICallRecord, tx: Tx) -> AICallRecord:
    """The call as it is inserted. Raises `InvalidInput` for a text that is too long for an index."""
    for what in ("topic", "scope", "batch_id", "request_hash"):
        check_length(what, getattr(call, what) or "", TOPIC)
    now = tx.now()
    return replace(call, created_at=now, updated_at=now)


def _why(call: AICallRecord, cap: Cap) -> str:
    bound = "of unknown cost" if call.reserved_cost is None else f"up to ${call.reserved_cost:.6f}"
    limits = [f"${cap.max_cost:g}"] if cap.max_cost is not None else []
    limits += [f"{cap.max_tokens} tokens"] if cap.max_tokens is not None else []
    return (
        f"a call of {call.model_key!r} ({bound}, {call.reserved_tokens} tokens) would pass the budget of "
        f"{cap.scope}: {' and '.join(limits)}, with what is spent and reserved; it was not sent"
    )


def stats_of(totals: Iterable[CallTotals]) -> TopicStats:
    """The sums over all calls and by model. Batch reservations and tool calls have no model."""
    whole, models = TopicStats(), dict[str, ModelStats]()
    for each in totals:
        unsettled = each.state is CallState.RESERVED
        whole = replace(
            _with(whole, each),
            unsettled=whole.unsettled + (each.calls if unsettled else 0),
            unsettled_cost=whole.unsettled_cost + each.reserved_cost,
        )
        models[each.model_key] = _with(models.get(each.model_key, ModelStats()), each)
    return replace(whole, models=models)


def _with[S: ModelStats](sums: S, more: CallTotals) -> S:
    return replace(
        sums,
        calls=sums.calls + more.calls,
        input_tokens=sums.input_tokens + more.input_tokens,
        output_tokens=sums.output_tokens + more.output_tokens,
        cost=sums.cost + more.cost,
        unknown=sums.unknown + (0 if more.state is CallState.RESERVED else more.unknown),
    )
