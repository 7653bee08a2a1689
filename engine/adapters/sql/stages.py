from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import and_, bindparam, delete, or_, select, update

from engine.adapters.sql.inserts import insert_new_rows
from engine.adapters.sql.patches import patch_row
from engine.adapters.sql.rows import STAGE
from engine.adapters.sql.schema import STAGES, is_in
from engine.adapters.sql.session import Session
from engine.domain.errors import NotFound
from engine.domain.lifecycle import Status
from engine.domain.records import StageRecord
from engine.domain.stored_value import StoredValue
from engine.ports.write_set import Patch

_C = STAGES.c
_AT = bindparam("at", type_=_C.next_poll_at.type)

_BY_ID = STAGE.select.where(_C.id == bindparam("record_id"))
_OF_RUN = STAGE.select.where(_C.workflow_run_id == bindparam("run_id")).order_by(
    _C.execution_group, _C.stage_number, _C.id
)
_OUTPUTS = select(_C.stage_id, _C.output_data).where(
    _C.workflow_run_id == bindparam("run_id"),
    is_in(_C.status, Status.COMPLETED),
    _C.output_data.is_not(None),
)
_DELETE = delete(STAGES).where(_C.id.in_(bindparam("record_ids", expanding=True)))
_UNCLAIMED = and_(
    is_in(_C.status, Status.SUSPENDED),
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
        version=_C.version + 1,
    )
    .returning(*STAGE.columns)
)


class SqlStages:
    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, record_id: str) -> StageRecord:
        row = self._session.first(_BY_ID, {"record_id": record_id})
        if row is None:
            raise NotFound(STAGE.name, record_id)
        return STAGE.record(row)

    def of_run(self, run_id: str) -> Sequence[StageRecord]:
        return STAGE.records(self._session.all(_OF_RUN, {"run_id": run_id}))

    def outputs(self, run_id: str) -> Mapping[str, StoredValue]:
        return {row.stage_id: row.output_data for row in self._session.all(_OUTPUTS, {"run_id": run_id})}

    def insert_missing(self, stages: Iterable[StageRecord]) -> frozenset[str]:
        return insert_new_rows(self._session, STAGE, stages, unique=("workflow_run_id", "stage_id"))

    def update(self, record_id: str, patch: Patch, *, expected_version: int | None = None) -> StageRecord:
        return patch_row(self._session, STAGE, record_id, patch, expected=expected_version)

    def delete(self, record_ids: Iterable[str]) -> None:
        self._session.write(_DELETE, {"record_ids": list(record_ids)})

    def due(self, now: datetime, limit: int) -> Sequence[StageRecord]:
        return STAGE.records(self._session.all(_DUE, {"at": now, "row_limit": limit}))

    def claim_poll(self, record_id: str, *, token: str, now: datetime, until: datetime) -> StageRecord | None:
        parameters = {"record_id": record_id, "token": token, "at": now, "until": until}
        rows = self._session.write_rows(_CLAIM_POLL, parameters)
        return STAGE.record(rows[0]) if rows else None
