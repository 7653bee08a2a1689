from collections.abc import Iterable, Sequence
from functools import lru_cache

from sqlalchemy import Integer, Select, bindparam, exists, select, union_all, update

from engine.adapters.sql.inserts import insert_rows
from engine.adapters.sql.patches import patch_row
from engine.adapters.sql.rows import JOB
from engine.adapters.sql.schema import JOBS, RUNS, is_in
from engine.adapters.sql.session import Session
from engine.adapters.sql.store_time import NOW, seconds_from_now
from engine.domain.errors import NotFound
from engine.domain.lifecycle import OPEN, Status
from engine.domain.records import JobRecord
from engine.ports.transaction import LeaseState
from engine.ports.write_set import Patch

_C = JOBS.c
_LIMIT = bindparam("row_limit", type_=Integer)

_BY_ID = JOB.select.where(_C.id == bindparam("job_id"))
_OF_RUN = JOB.select.where(_C.workflow_run_id == bindparam("run_id")).order_by(_C.created_at, _C.id)
_EXPIRED = (
    JOB.select.where(is_in(_C.status, Status.RUNNING), _C.lease_until <= seconds_from_now())
    .order_by(_C.lease_until, _C.id)
    .limit(_LIMIT)
)
_HELD = JOB.select.where(
    is_in(_C.status, Status.RUNNING), _C.worker_id.in_(bindparam("worker_ids", expanding=True))
).order_by(_C.created_at, _C.id)
_OPEN = JOB.select.where(is_in(_C.status, *OPEN)).order_by(_C.created_at, _C.id).limit(_LIMIT)
_IS_WANTED = exists().where(
    RUNS.c.id == _C.workflow_run_id, is_in(RUNS.c.status, Status.RUNNING), RUNS.c.failure_code.is_(None)
)
_IS_HELD = (
    _C.id == bindparam("job_id"),
    _C.lease_token == bindparam("token"),
    is_in(_C.status, Status.RUNNING),
)
_RENEW = update(JOBS).where(*_IS_HELD, _IS_WANTED).values(lease_until=seconds_from_now(), updated_at=NOW)
_WANTED = select(_IS_WANTED).where(_C.id == bindparam("job_id"))


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

    def insert(self, jobs: Iterable[JobRecord]) -> None:
        insert_rows(self._session, JOB, jobs)

    def update(self, job_id: str, patch: Patch) -> JobRecord:
        return patch_row(self._session, JOB, job_id, patch)

    def renew(self, job_id: str, token: str, seconds: float) -> LeaseState:
        now = self._session.now_or_none()
        parameters = {"job_id": job_id, "token": token, "seconds": seconds, "now": now}
        if self._session.write(_RENEW, parameters):
            return LeaseState.HELD
        wanted = self._session.first(_WANTED, {"job_id": job_id})
        return LeaseState.LOST if wanted is None or wanted[0] else LeaseState.CANCELLED

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


@lru_cache
def _due(pools: int) -> Select[tuple[object, ...]]:
    """The first of each pool, which the index gives in order, then the first of those."""
    order = (_C.priority.desc(), _C.due_at, _C.id)
    heads = [
        select(
            JOB.select.where(is_in(_C.status, Status.PENDING), _C.pool == bindparam(f"pool_{number}"), _C.due_at <= NOW)
            .order_by(*order)
            .limit(_LIMIT)
            .subquery()
        )
        for number in range(pools)
    ]
    heads_of_all = union_all(*heads).subquery()
    found = heads_of_all.c
    return select(heads_of_all).order_by(found.priority.desc(), found.due_at, found.id).limit(_LIMIT)
