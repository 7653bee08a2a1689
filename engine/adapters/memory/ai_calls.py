from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby

from engine.adapters.memory.tables import Tables
from engine.domain.ai_calls import (
    SLACK,
    AICallRecord,
    CallState,
    CallTotals,
    Cap,
    SpendingRecord,
    Spent,
)
from engine.ports.ai_calls import CallFilter


class MemoryAICalls:
    def __init__(self, tables: Tables) -> None:
        self._tables, self._rows, self._counters = tables, tables.ai_calls, tables.spending

    def find(self, call_id: str) -> AICallRecord | None:
        return self._rows.find(call_id)

    def of_run(self, run_id: str, *, after: str | None = None, limit: int = 1000) -> Sequence[AICallRecord]:
        found = (call for call in self._rows.of_run(run_id) if after is None or call.id > after)
        return sorted(found, key=lambda call: call.id)[:limit]

    def of_batch(self, batch_id: str) -> Sequence[AICallRecord]:
        return sorted(self._rows.where(lambda call: call.batch_id == batch_id), key=lambda call: call.id)

    def answered_before(self, call: AICallRecord) -> Sequence[AICallRecord]:
        def is_earlier(each: AICallRecord) -> bool:
            same = _work_of(each) == _work_of(call) and each.request_hash == call.request_hash
            submitted = each.state is CallState.RESERVED and each.batch_id is not None
            return same and (each.state is CallState.SETTLED or submitted) and each.attempt < call.attempt

        return sorted(self._rows.where(is_earlier), key=lambda each: each.id)

    def reserve(self, call: AICallRecord, caps: Sequence[Cap]) -> Cap | None:
        self._add(call)
        for scope in call.counters:
            counter = self._counter(scope, call)
            reserved_cost = counter.reserved_cost + (call.reserved_cost or 0.0)
            reserved_tokens = counter.reserved_tokens + call.reserved_tokens
            for cap in caps:
                if cap.scope == scope and _exceeds(cap, counter, reserved_cost, reserved_tokens):
                    return cap
            self._counters.update(scope, {"reserved_cost": reserved_cost, "reserved_tokens": reserved_tokens})
        return None

    def settle(self, call: AICallRecord) -> bool:
        before = self._rows.find(call.id)
        if before is None or before.state is not CallState.RESERVED:
            return False
        self._rows.update(call.id, asdict(call))
        if not call.keeps_reservation:
            self._add_spending(call, Spent(call.cost or 0.0, call.tokens), before)
        return True

    def name_batch(self, call_id: str, batch_id: str) -> None:
        self._rows.update(call_id, {"batch_id": batch_id})

    def insert(self, calls: Iterable[AICallRecord]) -> frozenset[str]:
        added = [call for call in calls if call.id not in self._rows and self._add(call)]
        if added:
            self._add_spending(
                added[0], Spent(sum(call.cost or 0.0 for call in added), sum(call.tokens for call in added))
            )
        return frozenset(call.id for call in added)

    def totals(self, where: CallFilter) -> Sequence[CallTotals]:
        found = self._rows.where(lambda call: _matches(call, where))
        return [_summed(list(calls)) for _, calls in groupby(sorted(found, key=_group), key=_group)]

    def spent(self, run_id: str) -> Mapping[str, Spent]:
        counters = self._counters.of_run(run_id)
        return {each.stage_id: Spent(each.spent_cost, each.spent_tokens) for each in counters if each.stage_id}

    def _add(self, call: AICallRecord) -> bool:
        if call.workflow_run_id is not None:
            self._tables.belongs(call.workflow_run_id)
        self._rows.insert(call.id, call)
        return True

    def _counter(self, scope: str, call: AICallRecord) -> SpendingRecord:
        if scope not in self._counters:
            stage_id = call.stage_id if scope == call.scope else None
            blank = SpendingRecord(scope=scope, workflow_run_id=call.workflow_run_id, stage_id=stage_id)
            self._counters.insert(scope, blank)
        return self._counters.get(scope)

    def _add_spending(self, call: AICallRecord, spent: Spent, reserved: AICallRecord | None = None) -> None:
        for scope in call.counters:
            counter = self._counter(scope, call)
            self._counters.update(
                scope,
                {
                    "spent_cost": counter.spent_cost + spent.cost,
                    "spent_tokens": counter.spent_tokens + spent.tokens,
                    "reserved_cost": counter.reserved_cost - ((reserved and reserved.reserved_cost) or 0.0),
                    "reserved_tokens": counter.reserved_tokens - (reserved.reserved_tokens if reserved else 0),
                },
            )
        if call.workflow_run_id is not None:
            self._add_to_totals(call, call.workflow_run_id, spent)

    def _add_to_totals(self, call: AICallRecord, run_id: str, spent: Spent) -> None:
        tables, stamp = self._tables, {"updated_at": call.updated_at}
        run = tables.runs.get(run_id)
        totals = {"total_cost": run.total_cost + spent.cost, "total_tokens": run.total_tokens + spent.tokens}
        tables.runs.update(run.id, {**totals, **stamp})
        for stage in tables.stages.of_run(run_id):
            if stage.stage_id == call.stage_id and call.scope is not None:
                counter = self._counters.get(call.scope)
                totals = {"total_cost": counter.spent_cost, "total_tokens": counter.spent_tokens}
                tables.stages.update(stage.id, {**totals, **stamp})


def _work_of(call: AICallRecord) -> tuple[str | None, str | None, int]:
    return call.workflow_run_id, call.stage_id, call.generation


def _exceeds(cap: Cap, counter: SpendingRecord, reserved_cost: float, reserved_tokens: int) -> bool:
    """Whether the call would exceed the cap of the counter."""
    cost, tokens = counter.spent_cost + reserved_cost, counter.spent_tokens + reserved_tokens
    return (cap.max_cost is not None and cost > cap.max_cost + SLACK) or (
        cap.max_tokens is not None and tokens > cap.max_tokens
    )


def _matches(call: AICallRecord, where: CallFilter) -> bool:
    topic = where.topic
    return where.workflow_run_id in {None, call.workflow_run_id} and (
        topic is None or call.topic == topic or call.topic.startswith(f"{topic}.")
    )


def _group(call: AICallRecord) -> tuple[str, int, int, str, str, str]:
    return call.stage_id or "", call.generation, call.attempt, call.model_key, call.call_type, call.state


def _summed(calls: list[AICallRecord]) -> CallTotals:
    first = calls[0]
    unsettled = [
        call.reserved_cost or 0.0 for call in calls if call.state is CallState.RESERVED or call.keeps_reservation
    ]
    return CallTotals(
        stage_id=first.stage_id,
        generation=first.generation,
        attempt=first.attempt,
        model_key=first.model_key,
        call_type=first.call_type,
        state=first.state,
        calls=len(calls),
        input_tokens=sum(call.input_tokens for call in calls),
        output_tokens=sum(call.output_tokens for call in calls),
        cached_tokens=sum(call.cached_tokens for call in calls),
        reasoning_tokens=sum(call.reasoning_tokens for call in calls),
        cost=sum(call.cost or 0.0 for call in calls),
        unknown=sum(call.cost is None for call in calls),
        reserved_cost=sum(unsettled),
    )
