from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from engine.adapters.memory.rows import MemoryRows
from engine.adapters.memory.tables import Tables
from engine.domain.lifecycle import OPEN_JOBS, JobStatus
from engine.domain.records import JobRecord


class MemoryJobs:
    def __init__(self, tables: Tables) -> None:
        self._tables, self._rows = tables, tables.jobs

    def get(self, job_id: str) -> JobRecord:
        return self._rows.get(job_id)

    def find(self, job_id: str) -> JobRecord | None:
        return self._rows.find(job_id)

    def of_run(self, run_id: str) -> Sequence[JobRecord]:
        return _oldest_first(self._rows.of_run(run_id))

    def expired(self, limit: int, *, older_than: float = 0.0) -> Sequence[JobRecord]:
        cutoff = self._tables.clock.now() - timedelta(seconds=older_than)
        ran_out = self._rows.where(lambda job: job.status is JobStatus.RUNNING and _ran_out(job.lease_until, cutoff))
        found = [(job.lease_until, job.id, job) for job in ran_out]
        return [job for _, _, job in sorted(found, key=lambda each: each[:2])[:limit]]

    def held_by(self, worker_ids: Iterable[str]) -> Sequence[JobRecord]:
        workers = frozenset(worker_ids)
        return _oldest_first(self._rows.where(lambda job: job.status is JobStatus.RUNNING and job.worker_id in workers))

    def due(self, pools: Iterable[str], limit: int) -> Sequence[JobRecord]:
        return MemoryRows(self._tables).due_jobs(tuple(pools), limit)

    def waiting(self, limit: int) -> Sequence[JobRecord]:
        return _oldest_first(self._rows.where(lambda job: job.status in OPEN_JOBS))[:limit]


def _ran_out(until: datetime | None, cutoff: datetime) -> bool:
    return until is not None and until <= cutoff


def _oldest_first(jobs: Iterable[JobRecord]) -> list[JobRecord]:
    return sorted(jobs, key=lambda job: (job.created_at, job.id))
