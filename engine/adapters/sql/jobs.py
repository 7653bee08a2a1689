from collections.abc import Iterable, Sequence
from functools import lru_cache

from sqlalchemy import Integer, Select, and_, bindparam, select, union_all

from engine.adapters.sql.rows import JOB
from engine.adapters.sql.schema import JOBS, is_in
from engine.adapters.sql.session import Session
from engine.adapters.sql.store_time import NOW, seconds_from_now
from engine.domain.errors import NotFound
from engine.domain.lifecycle import OPEN_JOBS, JobStatus
from engine.domain.records import JobRecord

_C = JOBS.c
_LIMIT = bindparam("row_limit", type_=Integer)

_BY_ID = JOB.select.where(_C.id == bindparam("job_id"))
_OF_RUN = JOB.select.where(_C.workflow_run_id == bindparam("run_id")).order_by(_C.created_at, _C.id)
_EXPIRED = (
    JOB.select.where(is_in(_C.status, JobStatus.RUNNING), _C.lease_until <= seconds_from_now())
    .order_by(_C.lease_until, _C.id)
    .limit(_LIMIT)
)
_HELD = JOB.select.where(
    is_in(_C.status, JobStatus.RUNNING), _C.worker_id.in_(bindparam("worker_ids", expanding=True))
).order_by(_C.created_at, _C.id)
_OPEN = JOB.select.where(is_in(_C.status, *OPEN_JOBS)).order_by(_C.created_at, _C.id).limit(_LIMIT)


class SqlJobs:
    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, job_id: str) -> JobRecord:
        found = self.find(job_id)
        if found is None:
            raise NotFound(JOB.name, job_id)
        return found

    def find(self, job_id: str) -> JobRecord | None:
        row = self._session.first(_BY_ID, {"job_id": job_id})
        return None if row is None else JOB.record(row)

    def of_run(self, run_id: str) -> Sequence[JobRecord]:
        return JOB.records(self._session.all(_OF_RUN, {"run_id": run_id}))

    def expired(self, limit: int, *, older_than: float = 0.0) -> Sequence[JobRecord]:
        now = self._session.now_or_none()
        return JOB.records(self._session.all(_EXPIRED, {"row_limit": limit, "seconds": -older_than, "now": now}))

    def held_by(self, worker_ids: Iterable[str]) -> Sequence[JobRecord]:
        return JOB.records(self._session.all(_HELD, {"worker_ids": list(worker_ids)}))

    def due(self, pools: Iterable[str], limit: int) -> Sequence[JobRecord]:
        wanted = sorted(set(pools))
        if not wanted:
            return []
        parameters = {f"pool_{number}": pool for number, pool in enumerate(wanted)}
        now = self._session.now_or_none()
        rows = self._session.all(_due(len(wanted)), {"row_limit": limit, "now": now, **parameters})
        return JOB.records(rows)

    def waiting(self, limit: int) -> Sequence[JobRecord]:
        return JOB.records(self._session.all(_OPEN, {"row_limit": limit}))


_IS_DUE = and_(is_in(_C.status, JobStatus.PENDING), _C.due_at <= NOW)


@lru_cache
def _due(pools: int) -> Select[tuple[object, ...]]:
    """The first jobs of each pool, which the index gives in order, merged by rank."""
    order = (_C.rank, _C.id)
    heads = [
        select(
            JOB.select.where(
                is_in(_C.status, JobStatus.PENDING), _C.pool == bindparam(f"pool_{number}"), _C.due_at <= NOW
            )
            .order_by(*order)
            .limit(_LIMIT)
            .subquery()
        )
        for number in range(pools)
    ]
    heads_of_all = union_all(*heads).subquery()
    found = heads_of_all.c
    return select(heads_of_all).order_by(found.rank, found.id).limit(_LIMIT)
