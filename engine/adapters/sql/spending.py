"""The counters of the cost of model calls. One guarded statement adds a call, or refuses it by its cap."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Double, and_, bindparam, cast, or_, update
from sqlalchemy.dialects import postgresql, sqlite

from engine.adapters.sql.column_types import POSTGRESQL
from engine.adapters.sql.schema import RUNS, SPENDING, STAGES
from engine.adapters.sql.session import Session
from engine.domain.ai_calls import SLACK, AICallRecord, Cap, Spent

_S = SPENDING.c
_COST, _TOKENS = bindparam("add_cost", type_=Double), bindparam("add_tokens", type_=_S.spent_tokens.type)
# Cast, because the server does not know the type of a parameter that is compared with NULL.
_MAX_COST = cast(bindparam("max_cost"), Double)
_MAX_TOKENS = cast(bindparam("max_tokens"), _S.spent_tokens.type)
_FITS = and_(
    or_(_MAX_COST.is_(None), _S.spent_cost + _S.reserved_cost + _COST <= _MAX_COST),
    or_(_MAX_TOKENS.is_(None), _S.spent_tokens + _S.reserved_tokens + _TOKENS <= _MAX_TOKENS),
)
_AT = bindparam("at", type_=RUNS.c.updated_at.type)
_ADD_TO_RUN = (
    update(RUNS)
    .where(RUNS.c.id == bindparam("run_id"))
    .values(
        total_cost=RUNS.c.total_cost + _COST,
        total_tokens=RUNS.c.total_tokens + _TOKENS,
        updated_at=_AT,
    )
)
_SAME_STAGE = and_(STAGES.c.workflow_run_id == bindparam("run_id"), STAGES.c.stage_id == bindparam("of_stage"))
_SET_TOTAL_OF_STAGE = (
    update(STAGES)
    .where(_SAME_STAGE)
    .values(
        total_cost=bindparam("spent_cost", type_=Double),
        total_tokens=bindparam("spent_tokens", type_=_S.spent_tokens.type),
        updated_at=_AT,
    )
)


def reserve(session: Session, call: AICallRecord, caps: Sequence[Cap]) -> Cap | None:
    """Adds the upper bound to the call's counters. Gives the cap that the call would exceed, if any."""
    statement = _reserve(session.dialect)
    for scope in call.counters:
        limits = [cap for cap in caps if cap.scope == scope] or [Cap(scope=scope)]
        cap = _tightest(limits)
        if _exceeds_alone(call, cap) or not session.write_rows(statement, _reservation(scope, call, cap)):
            return cap
    return None


def add_spending(session: Session, call: AICallRecord, spent: Spent, reserved: AICallRecord | None = None) -> None:
    """Adds the cost to run, stage and counters, and removes the reservation. The caller has locked the run."""
    add = {"add_cost": spent.cost, "add_tokens": spent.tokens, "at": call.updated_at, "run_id": call.workflow_run_id}
    if call.workflow_run_id is not None:
        session.write(_ADD_TO_RUN, add)
    statement = _spend(session.dialect)
    for scope in call.counters:
        (row,) = session.write_rows(statement, _spending(scope, call, spent, reserved))
        if scope == call.scope and call.workflow_run_id is not None and call.stage_id is not None:
            totals = {"spent_cost": row.spent_cost, "spent_tokens": row.spent_tokens, "of_stage": call.stage_id}
            session.write(_SET_TOTAL_OF_STAGE, {**totals, "run_id": call.workflow_run_id, "at": call.updated_at})


def _tightest(limits: Sequence[Cap]) -> Cap:
    costs = [cap.max_cost for cap in limits if cap.max_cost is not None]
    tokens = [cap.max_tokens for cap in limits if cap.max_tokens is not None]
    return Cap(scope=limits[0].scope, max_cost=min(costs, default=None), max_tokens=min(tokens, default=None))


def _exceeds_alone(call: AICallRecord, cap: Cap) -> bool:
    """Whether the call alone exceeds the cap. The guard checks only counters that exist."""
    exceeds_cost = cap.max_cost is not None and (call.reserved_cost or 0.0) > cap.max_cost + SLACK
    return exceeds_cost or (cap.max_tokens is not None and call.reserved_tokens > cap.max_tokens)


def _reservation(scope: str, call: AICallRecord, cap: Cap) -> dict[str, Any]:
    return {
        **_identity(scope, call),
        "spent_cost": 0.0,
        "spent_tokens": 0,
        "reserved_cost": call.reserved_cost or 0.0,
        "reserved_tokens": call.reserved_tokens,
        "add_cost": call.reserved_cost or 0.0,
        "add_tokens": call.reserved_tokens,
        "max_cost": None if cap.max_cost is None else cap.max_cost + SLACK,
        "max_tokens": cap.max_tokens,
    }


def _spending(scope: str, call: AICallRecord, spent: Spent, reserved: AICallRecord | None) -> dict[str, Any]:
    return {
        **_identity(scope, call),
        "spent_cost": spent.cost,
        "spent_tokens": spent.tokens,
        "reserved_cost": -((reserved and reserved.reserved_cost) or 0.0),
        "reserved_tokens": -(reserved.reserved_tokens if reserved else 0),
    }


def _identity(scope: str, call: AICallRecord) -> dict[str, Any]:
    stage_id = call.stage_id if scope == call.scope else None
    return {"scope": scope, "workflow_run_id": call.workflow_run_id, "stage_id": stage_id}


@lru_cache
def _reserve(dialect: str) -> Any:
    insert = _insert(dialect)
    more = {"reserved_cost": _S.reserved_cost + _COST, "reserved_tokens": _S.reserved_tokens + _TOKENS}
    return insert.on_conflict_do_update(index_elements=["scope"], set_=more, where=_FITS).returning(_S.scope)


@lru_cache
def _spend(dialect: str) -> Any:
    insert = _insert(dialect)
    names = ("spent_cost", "spent_tokens", "reserved_cost", "reserved_tokens")
    more = {name: _S[name] + insert.excluded[name] for name in names}
    return insert.on_conflict_do_update(index_elements=["scope"], set_=more).returning(_S.spent_cost, _S.spent_tokens)


def _insert(dialect: str) -> Any:
    names = [column.name for column in SPENDING.columns]
    values = {name: bindparam(name, type_=SPENDING.c[name].type) for name in names}
    return (postgresql.insert if dialect == POSTGRESQL else sqlite.insert)(SPENDING).values(values)
