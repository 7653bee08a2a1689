from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import Integer, Select, and_, bindparam, delete

from engine.adapters.sql.prefixes import starts_with
from engine.adapters.sql.rows import RUN
from engine.adapters.sql.schema import HAS_ENDED, RUNS, is_in
from engine.adapters.sql.session import Session
from engine.domain.errors import NotFound
from engine.domain.lifecycle import RunStatus
from engine.domain.records import RunRecord
from engine.ports.transaction import RunFilter

_C = RUNS.c
_LIMIT = bindparam("row_limit", type_=Integer)
_BEFORE = bindparam("before", type_=_C.updated_at.type)

_BY_ID = RUN.select.where(_C.id == bindparam("run_id"))
_PENDING = (
    RUN.select.where(is_in(_C.status, RunStatus.PENDING))
    .order_by(_C.priority.desc(), _C.created_at, _C.id)
    .limit(_LIMIT)
)
_QUIET = (
    RUN.select.where(is_in(_C.status, RunStatus.RUNNING), _C.updated_at < _BEFORE)
    .order_by(_C.updated_at, _C.id)
    .limit(_LIMIT)
)
_ENDED = RUN.select.where(HAS_ENDED, _C.completed_at < _BEFORE).order_by(_C.completed_at, _C.id).limit(_LIMIT)
_DELETE = delete(RUNS).where(_C.id.in_(bindparam("run_ids", expanding=True)))


class SqlRuns:
    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, run_id: str) -> RunRecord:
        found = self.find(run_id)
        if found is None:
            raise NotFound(RUN.name, run_id)
        return found

    def find(self, run_id: str) -> RunRecord | None:
        row = self._session.first(_BY_ID, {"run_id": run_id})
        return None if row is None else RUN.record(row)

    def pending(self, limit: int) -> Sequence[RunRecord]:
        return RUN.records(self._session.all(_PENDING, {"row_limit": limit}))

    def quiet(self, before: datetime, limit: int) -> Sequence[RunRecord]:
        return RUN.records(self._session.all(_QUIET, {"before": before, "row_limit": limit}))

    def search(self, where: RunFilter, limit: int) -> Sequence[RunRecord]:
        return RUN.records(self._session.all(_search(where).limit(limit)))

    def ended(self, before: datetime, limit: int) -> Sequence[RunRecord]:
        return RUN.records(self._session.all(_ENDED, {"before": before, "row_limit": limit}))

    def delete(self, run_ids: Iterable[str]) -> None:
        self._session.write(_DELETE, {"run_ids": list(run_ids)})


def _search(where: RunFilter) -> Select[tuple[object, ...]]:
    conditions = [
        _C.workflow_id == where.workflow_id if where.workflow_id is not None else None,
        _C.tenant == where.tenant if where.tenant is not None else None,
        _C.status.in_(sorted(where.statuses)) if where.statuses else None,
        _C.created_at >= where.created_since if where.created_since is not None else None,
        _C.created_at < where.created_until if where.created_until is not None else None,
        starts_with(_C.id, where.id_prefix) if where.id_prefix else None,
        _C.id < where.before if where.before is not None else None,
    ]
    given = [condition for condition in conditions if condition is not None]
    return (RUN.select.where(and_(*given)) if given else RUN.select).order_by(_C.id.desc())
