from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from engine.adapters.memory.tables import Tables
from engine.domain.lifecycle import OPEN, Status
from engine.domain.records import JobRecord
from engine.ports.transaction import LeaseState
from engine.ports.write_set import Patch


class MemoryJobs:
    def __init__(self, tables: Tables) -> None:
        self._tables, self._rows = tables, tables.jobs

    def get(self, job_id: str) -> JobRecord:
        return self._rows.get(job_id)

    def find(self, job_id: str) -> JobRecord | None:
        return self._rows.find(job_id)

    def of_run(self, run_id: str) -> Sequence[JobRecord]:
        return _oldest_first(self._rows.of_run(run_id))

    def insert(self, jobs: Iterable[JobRecord]) -> None:
        for job in jobs:
            self._tables.belongs(job.workflow_run_id)
            self._rows.insert(job.id, job)

    def update(self, job_id: str, patch: Patch) -> JobRecord:
        return self._rows.update(job_id, {"updated_at": self._tables.clock.now(), **patch})

    def renew(self, job_id: str, token: str, seconds: float) -> LeaseState:
        job = self._rows.find(job_id)
        if job is None:
            return LeaseState.LOST
        run = self._tables.runs.get(job.workflow_run_id)
        if run.status is not Status.RUNNING or run.failure_code is not None:
            return LeaseState.CANCELLED
        if job.status is not Status.RUNNING or job.lease_token != token:
            return LeaseState.LOST
        self.update(job_id, {"lease_until": self._tables.clock.now() + timedelta(seconds=seconds)})
        return LeaseState.HELD

    def expired(self, limit: int, *, older_than: float = 0.0) -> Sequence[JobRecord]:
        cutoff = self._tables.clock.now() - timedelta(seconds=older_than)
        ran_out = self._rows.where(lambda job: job.status is Status.RUNNING and _ran_out(job.lease_until, cutoff))
        found = [(job.lease_until, job.id, job) for job in ran_out]
        return [job for _, _, job in sorted(found, key=lambda each: each[:2])[:limit]]

    def held_by(self, worker_ids: Iterable[str]) -> Sequence[JobRecord]:
        workers = frozenset(worker_ids)
        return _oldest_first(self._rows.where(lambda job: job.status is Status.RUNNING and job.worker_id in workers))

    def due(self, pools: Iterable[str], limit: int) -> Sequence[JobRecord]:
        wanted, now = frozenset(pools), self._tables.clock.now()
        found = self._rows.where(lambda job: job.status is Status.PENDING and job.pool in wanted and job.due_at <= now)
        return sorted(found, key=lambda job: (-job.priority, job.due_at, job.id))[:limit]

    def waiting(self, limit: int) -> Sequence[JobRecord]:
        return _oldest_first(self._rows.where(lambda job: job.status in OPEN))[:limit]


def _ran_out(until: datetime | None, cutoff: datetime) -> bool:
    return until is not None and until <= cutoff


def _oldest_first(jobs: Iterable[JobRecord]) -> list[JobRecord]:
    return sorted(jobs, key=lambda job: (job.created_at, job.id))
