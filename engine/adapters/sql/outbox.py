from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Integer, and_, bindparam, exists, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from engine.adapters.sql.column_types import POSTGRESQL
from engine.adapters.sql.rows import EVENT, storable
from engine.adapters.sql.schema import DELIVERIES, EVENT_IS_OPEN, OUTBOX
from engine.adapters.sql.session import Session
from engine.adapters.sql.store_time import NOW, seconds_from_now
from engine.domain.records import OutboxRecord
from engine.ports.changes import Patch

_C = OUTBOX.c
_LIMIT = bindparam("row_limit", type_=Integer)
_RUN = _C.workflow_run_id == bindparam("run_id")
_IDS = _C.id.in_(bindparam("event_ids", expanding=True))
_EARLIER = OUTBOX.alias("earlier")

_UNCLAIMED = or_(_C.claimed_until.is_(None), _C.claimed_until <= NOW)
_IS_DUE = or_(_C.next_attempt_at.is_(None), _C.next_attempt_at <= NOW)
_IS_FIRST = ~exists().where(
    _EARLIER.c.workflow_run_id == _C.workflow_run_id,
    _EARLIER.c.sequence < _C.sequence,
    _EARLIER.c.published_at.is_(None),
    _EARLIER.c.dlq_at.is_(None),
)
_READY = (
    select(_C.workflow_run_id)
    .where(EVENT_IS_OPEN, _UNCLAIMED, _IS_DUE, _IS_FIRST)
    .order_by(_C.occurred_at, _C.id)
    .limit(_LIMIT)
)
_HOLD = (
    select(_C.id, _UNCLAIMED.label("is_unclaimed"), _IS_DUE.label("is_due"))
    .where(_RUN, EVENT_IS_OPEN)
    .order_by(_C.sequence)
    .limit(_LIMIT)
    .with_for_update()
)
_CLAIMED_UNTIL = select(func.max(_C.claimed_until)).where(_RUN, EVENT_IS_OPEN, _C.claimed_until > NOW)
_CLAIM = (
    update(OUTBOX)
    .where(_IDS)
    .values(claim_token=bindparam("token"), claimed_until=seconds_from_now())
    .returning(*EVENT.columns)
)
_PUBLISHED = (
    update(OUTBOX)
    .where(_IDS, _C.claim_token == bindparam("token"), EVENT_IS_OPEN)
    .values(published_at=bindparam("at", type_=_C.published_at.type), claim_token=None, claimed_until=None)
)
_RELEASE = update(OUTBOX).where(_RUN, _C.claim_token == bindparam("token")).values(claim_token=None, claimed_until=None)
_REDRIVE = (
    update(OUTBOX)
    .where(_IDS, _C.dlq_at.is_not(None))
    .values(dlq_at=None, retry_count=0, next_attempt_at=None, claim_token=None, claimed_until=None)
)
_OF_RUN = EVENT.select.where(_RUN, _C.sequence > bindparam("after")).order_by(_C.sequence).limit(_LIMIT)
_DEAD = EVENT.select.where(_C.dlq_at.is_not(None)).order_by(_C.occurred_at, _C.workflow_run_id, _C.sequence)
_BACKLOG = select(func.count(), func.min(_C.occurred_at)).where(EVENT_IS_OPEN)
_DELIVERED = select(DELIVERIES.c.name).where(DELIVERIES.c.event_id == bindparam("event"))


class SqlOutbox:
    def __init__(self, session: Session) -> None:
        self._session = session

    def ready(self, limit: int) -> Sequence[str]:
        rows = self._session.all(_READY, {"row_limit": limit, "now": self._session.now_or_none()})
        return [row.workflow_run_id for row in rows]

    def claim(self, run_id: str, *, token: str, seconds: float, limit: int) -> Sequence[OutboxRecord]:
        now = self._session.now_or_none()
        held = self._session.lock(_HOLD, {"run_id": run_id, "row_limit": limit, "now": now})
        if not held or not held[0].is_due or not all(row.is_unclaimed for row in held):
            return []
        parameters = {"event_ids": [row.id for row in held], "token": token, "seconds": seconds, "now": now}
        claimed = EVENT.records(self._session.write_rows(_CLAIM, parameters))
        return sorted(claimed, key=lambda event: event.sequence)

    def claimed_until(self, run_id: str) -> datetime | None:
        found = self._session.first(_CLAIMED_UNTIL, {"run_id": run_id, "now": self._session.now_or_none()})
        return None if found is None else found[0]

    def published(self, event_ids: Sequence[str], *, token: str, at: datetime) -> int:
        return self._session.write(_PUBLISHED, {"event_ids": list(event_ids), "token": token, "at": at})

    def release_claim(
        self, run_id: str, *, token: str, patch: Patch | None = None, event_id: str | None = None
    ) -> None:
        if patch and event_id is not None:
            given = EVENT.checked(patch)
            storable(given, EVENT.name)
            mine = and_(_C.id == event_id, _C.claim_token == token)
            self._session.write(update(OUTBOX).where(mine, EVENT_IS_OPEN).values(given), {})
        self._session.write(_RELEASE, {"run_id": run_id, "token": token})

    def of_run(self, run_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[OutboxRecord]:
        parameters = {"run_id": run_id, "after": after, "row_limit": limit}
        return EVENT.records(self._session.all(_OF_RUN, parameters))

    def dead(self, limit: int, event_type: str | None = None) -> Sequence[OutboxRecord]:
        found = _DEAD if event_type is None else _DEAD.where(_C.event_type == event_type)
        return EVENT.records(self._session.all(found.limit(limit)))

    def redrive(self, event_ids: Iterable[str]) -> int:
        return self._session.write(_REDRIVE, {"event_ids": list(event_ids)})

    def backlog(self) -> tuple[int, datetime | None]:
        row = self._session.all(_BACKLOG)[0]
        return row[0], row[1]

    def delivered(self, event_id: str) -> frozenset[str]:
        return frozenset(row.name for row in self._session.all(_DELIVERED, {"event": event_id}))

    def mark_delivered(self, event_id: str, names: Iterable[str]) -> None:
        rows: list[dict[str, Any]] = [{"event_id": event_id, "name": name} for name in names]
        insert = postgresql.insert if self._session.dialect == POSTGRESQL else sqlite.insert
        if rows:
            statement = insert(DELIVERIES).on_conflict_do_nothing().returning(DELIVERIES.c.name)
            self._session.write_rows(statement, rows)
