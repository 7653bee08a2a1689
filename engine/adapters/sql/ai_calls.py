from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import ColumnElement, and_, bindparam, case, func, or_, select, update

from engine.adapters.sql.inserts import insert_new_rows, insert_rows
from engine.adapters.sql.prefixes import starts_with
from engine.adapters.sql.rows import AI_CALL, AnyRow
from engine.adapters.sql.schema import AI_CALLS, RUNS, SPENDING
from engine.adapters.sql.session import Session
from engine.adapters.sql.spending import add_spending, reserve
from engine.domain.ai_calls import AICallRecord, CallState, CallTotals, Cap, Spent
from engine.ports.ai_calls import CallFilter

_C = AI_CALLS.c
_BY_ID = AI_CALL.select.where(_C.id == bindparam("call_id"))
_OF_RUN = AI_CALL.select.where(_C.workflow_run_id == bindparam("run_id")).order_by(_C.id).limit(bindparam("row_limit"))
_OF_BATCH = AI_CALL.select.where(_C.batch_id == bindparam("batch_id")).order_by(_C.id)
_ANSWERED_BEFORE = AI_CALL.select.where(
    _C.workflow_run_id == bindparam("run_id"),
    _C.request_hash == bindparam("request_hash"),
    _C.stage_id == bindparam("stage_id"),
    _C.generation == bindparam("generation"),
    _C.attempt < bindparam("attempt"),
    or_(_C.state == CallState.SETTLED, and_(_C.state == CallState.RESERVED, _C.batch_id.is_not(None))),
).order_by(_C.id)
_LOCK_RUN = select(RUNS.c.id).where(RUNS.c.id == bindparam("run_id")).with_for_update(key_share=True)
_NAME_BATCH = update(AI_CALLS).where(_C.id == bindparam("call_id")).values(batch_id=bindparam("named"))
_SPENT = select(SPENDING.c.stage_id, SPENDING.c.spent_cost, SPENDING.c.spent_tokens).where(
    SPENDING.c.workflow_run_id == bindparam("run_id"), SPENDING.c.stage_id.is_not(None)
)
_GROUP = (_C.stage_id, _C.generation, _C.attempt, _C.model_key, _C.call_type, _C.state)
_IS_OPEN = or_(_C.state == CallState.RESERVED, and_(_C.state == CallState.FAILED, _C.cost.is_(None)))
_SUMS = ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens")
_TOTALS = (
    select(
        *_GROUP,
        func.count().label("calls"),
        *(func.sum(_C[name]).label(name) for name in _SUMS),
        func.coalesce(func.sum(_C.cost), 0.0).label("cost"),
        func.sum(case((_C.cost.is_(None), 1), else_=0)).label("unknown"),
        func.coalesce(func.sum(case((_IS_OPEN, _C.reserved_cost))), 0.0).label("reserved_cost"),
    )
    .group_by(*_GROUP)
    .order_by(*_GROUP)
)


class SqlAICalls:
    def __init__(self, session: Session) -> None:
        self._session = session

    def find(self, call_id: str) -> AICallRecord | None:
        row = self._session.first(_BY_ID, {"call_id": call_id})
        return None if row is None else AI_CALL.record(row)

    def of_run(self, run_id: str, *, after: str | None = None, limit: int = 1000) -> Sequence[AICallRecord]:
        statement = _OF_RUN if after is None else _OF_RUN.where(_C.id > after)
        return AI_CALL.records(self._session.all(statement, {"run_id": run_id, "row_limit": limit}))

    def of_batch(self, batch_id: str) -> Sequence[AICallRecord]:
        return AI_CALL.records(self._session.all(_OF_BATCH, {"batch_id": batch_id}))

    def answered_before(self, call: AICallRecord) -> Sequence[AICallRecord]:
        parameters = {
            "run_id": call.workflow_run_id,
            "request_hash": call.request_hash,
            "stage_id": call.stage_id,
            "generation": call.generation,
            "attempt": call.attempt,
        }
        return AI_CALL.records(self._session.all(_ANSWERED_BEFORE, parameters))

    def reserve(self, call: AICallRecord, caps: Sequence[Cap]) -> Cap | None:
        insert_rows(self._session, AI_CALL, [call])
        return reserve(self._session, call, caps)

    def settle(self, call: AICallRecord) -> bool:
        self._lock_run(call)
        values = AI_CALL.values(call)
        before = self._session.first(_BY_ID, {"call_id": call.id})
        statement = update(AI_CALLS).where(_C.id == call.id, _C.state == CallState.RESERVED).values(values)
        if before is None or not self._session.write(statement, {}):
            return False
        if not call.keeps_reservation:
            add_spending(self._session, call, Spent(call.cost or 0.0, call.tokens), AI_CALL.record(before))
        return True

    def name_batch(self, call_id: str, batch_id: str) -> None:
        self._session.write(_NAME_BATCH, {"call_id": call_id, "named": batch_id})

    def insert(self, calls: Iterable[AICallRecord]) -> frozenset[str]:
        given = {call.id: call for call in calls}
        if not given:
            return frozenset()
        first = next(iter(given.values()))
        self._lock_run(first)
        inserted = insert_new_rows(self._session, AI_CALL, given.values(), unique=("id",))
        added = [given[call_id] for call_id in given if call_id in inserted]
        spent = Spent(sum(call.cost or 0.0 for call in added), sum(call.tokens for call in added))
        if spent != Spent():
            add_spending(self._session, first, spent)
        return inserted

    def totals(self, where: CallFilter) -> Sequence[CallTotals]:
        found = [_totals(row) for row in self._session.all(_TOTALS.where(*_conditions(where)))]
        return sorted(found, key=lambda each: (each.stage_id or "", each.generation, each.attempt))

    def spent(self, run_id: str) -> Mapping[str, Spent]:
        rows = self._session.all(_SPENT, {"run_id": run_id})
        return {row.stage_id: Spent(row.spent_cost, row.spent_tokens) for row in rows}

    def _lock_run(self, call: AICallRecord) -> None:
        if call.workflow_run_id is not None:
            self._session.lock(_LOCK_RUN, {"run_id": call.workflow_run_id})


def _conditions(where: CallFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if where.workflow_run_id is not None:
        conditions.append(_C.workflow_run_id == where.workflow_run_id)
    if where.topic is not None:
        conditions.append(or_(_C.topic == where.topic, starts_with(_C.topic, f"{where.topic}.")))
    return conditions


def _totals(row: AnyRow) -> CallTotals:
    counts = {name: int(row._mapping[name]) for name in (*_SUMS, "calls", "unknown")}  # noqa: SLF001 — its public name in SQLAlchemy
    return CallTotals(
        stage_id=row.stage_id,
        generation=row.generation,
        attempt=row.attempt,
        model_key=row.model_key,
        call_type=row.call_type,
        state=CallState(row.state),
        cost=float(row.cost),
        reserved_cost=float(row.reserved_cost),
        **counts,
    )
