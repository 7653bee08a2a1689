from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import and_, bindparam, or_, select, update

from engine.adapters.sql.rows import STAGE
from engine.adapters.sql.schema import STAGES, is_in
from engine.adapters.sql.session import Session
from engine.domain.errors import NotFound
from engine.domain.lifecycle import StageStatus
from engine.domain.records import StageRecord
from engine.domain.values import StoredValue

_C = STAGES.c
_AT = bindparam("at", type_=_C.next_poll_at.type)

_BY_ID = STAGE.select.where(_C.id == bindparam("record_id"))
_OF_RUN = STAGE.select.where(_C.workflow_run_id == bindparam("run_id")).order_by(
    _C.execution_group, _C.stage_number, _C.id
)
_OUTPUTS = (
    select(_C.stage_id, _C.output_data)
    .where(
        _C.workflow_run_id == bindparam("run_id"),
        _C.execution_group >= bindparam("first"),
        _C.execution_group < bindparam("beyond"),
        is_in(_C.status, StageStatus.COMPLETED),
        _C.output_data.is_not(None),
    )
    .order_by(_C.execution_group, _C.stage_number, _C.id)
)
_UNCLAIMED = and_(
    is_in(_C.status, StageStatus.SUSPENDED),
    or_(_C.poll_token.is_(None), _C.poll_until.is_(None), _C.poll_until <= _AT),
)
_DUE = (
    STAGE.select.where(_UNCLAIMED, _C.next_poll_at <= _AT)
    .order_by(_C.next_poll_at, _C.id)
    .limit(bindparam("row_limit"))
)
_CLAIM_POLL = (
    update(STAGES)
    .where(_C.id == bindparam("record_id"), _UNCLAIMED)
    .values(
        poll_token=bindparam("token"),
        poll_until=bindparam("until", type_=_C.poll_until.type),
        updated_at=_AT,
    )
    .returning(*STAGE.columns)
)


class SqlStages:
    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, record_id: str) -> StageRecord:
        found = self.find(record_id)
        if found is None:
            raise NotFound(STAGE.name, record_id)
        return found

    def find(self, record_id: str) -> StageRecord | None:
        row = self._session.first(_BY_ID, {"record_id": record_id})
        return None if row is None else STAGE.record(row)

    def of_run(self, run_id: str) -> Sequence[StageRecord]:
        return STAGE.records(self._session.all(_OF_RUN, {"run_id": run_id}))

    def outputs(self, run_id: str, groups: range) -> Mapping[str, StoredValue]:
        rows = self._session.all(_OUTPUTS, {"run_id": run_id, "first": groups.start, "beyond": groups.stop})
        return {row.stage_id: row.output_data for row in rows}

    def due(self, now: datetime, limit: int) -> Sequence[StageRecord]:
        return STAGE.records(self._session.all(_DUE, {"at": now, "row_limit": limit}))

    def claim_poll(self, record_id: str, *, token: str, now: datetime, until: datetime) -> StageRecord | None:
        parameters = {"record_id": record_id, "token": token, "at": now, "until": until}
        rows = self._session.write_rows(_CLAIM_POLL, parameters)
        return STAGE.record(rows[0]) if rows else None
