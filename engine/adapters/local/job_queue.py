"""A queue of job rows over any `Persistence`, with notifications in this process. For callers without a host.

Hosts finish jobs together with their stages and runs, through the kernel. These methods change job rows alone. They do
nothing to a job that is not RUNNING, so a caller may use them after `job.execute`.
"""

import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime

from engine.adapters.local.in_process import InProcessJobTransport
from engine.definition.retry import RetryPolicy
from engine.domain.errors import StoreError
from engine.domain.lifecycle import OPEN_JOBS, JobStatus
from engine.domain.records import JobRecord
from engine.ports.changes import (
    PASSED,
    Changes,
    Condition,
    FromNow,
    Insert,
    JobPatch,
    JobUpdate,
    Reason,
    Refused,
    Written,
)
from engine.ports.persistence import Claim, ClaimRequest, Lease, LockedRun, Persistence
from engine.transitions.moves import cancel_rows, move_job
from engine.transitions.open_group import SECONDS_PER_PRIORITY

_BATCH = 100
_ENDED: JobPatch = {"lease_until": None}
_TAKEN: JobPatch = {"lease_until": None, "lease_token": None, "worker_id": None}


class JobQueue(InProcessJobTransport):
    def __init__(self, persistence: Persistence, *, retry: RetryPolicy | None = None) -> None:
        super().__init__()
        self._persistence = persistence
        self._retry = retry or RetryPolicy(jitter=0)

    def enqueue_parallel(self, jobs: Iterable[JobRecord]) -> tuple[str, ...]:
        """Inserts all jobs of a run, or none of them. Gives the ids."""
        rows = tuple(jobs)
        for run_id in dict.fromkeys(job.workflow_run_id for job in rows):
            mine = tuple(job for job in rows if job.workflow_run_id == run_id)
            changes = Changes(run_id=run_id, at=mine[0].created_at, writes=(Insert(rows=mine),))
            if isinstance(self._persistence.write(changes), Refused):
                raise StoreError(f"a job of run {run_id!r} exists already")
        return tuple(job.id for job in rows)

    def dequeue(
        self,
        *,
        worker_id: str = "queue",
        pools: Sequence[str] = ("default",),
        lease_seconds: float = 300.0,
    ) -> JobRecord | None:
        """Claims the first due job and starts its stage."""
        lease = Lease(worker_id=worker_id, token=secrets.token_urlsafe(24), seconds=lease_seconds)
        claim = self._persistence.claim(ClaimRequest(lease=lease, at=self._now(), pools=tuple(pools)))
        return claim.job if isinstance(claim, Claim) else None

    def complete(self, job_id: str, *, lease_token: str | None = None) -> bool:
        return self._end_lease(self._get(job_id), lease_token, JobStatus.COMPLETED, _ENDED)

    def suspend(self, job_id: str, *, lease_token: str | None = None) -> bool:
        return self._end_lease(self._get(job_id), lease_token, JobStatus.SUSPENDED, _ENDED)

    def fail(self, job_id: str, error: str, *, retry: bool = False, lease_token: str | None = None) -> bool:
        """With `retry` and attempts left, the job is PENDING again, with a growing delay."""
        job = self._get(job_id)
        if not retry or job.attempt >= job.max_attempts:
            return self._end_lease(job, lease_token, JobStatus.FAILED, {**_ENDED, "last_error": error})
        delay = self._retry.delay(job.attempt, 0.0)
        retry_patch: JobPatch = {**_TAKEN, **_due(job, delay), "last_error": error}
        return self._end_lease(job, lease_token, JobStatus.PENDING, retry_patch)

    def touch_job(self, job_id: str, *, lease_token: str | None = None, lease_seconds: float = 300.0) -> bool:
        """Renews the lease of the job; with `lease_token`, only that lease. False if the job is not leased."""
        job = self._get(job_id)
        renewed = JobUpdate(
            ids=(job_id,),
            set={"lease_until": FromNow(lease_seconds)},
            expect={"status": JobStatus.RUNNING, "lease_token": lease_token or job.lease_token},
        )
        changes = Changes(run_id=job.workflow_run_id, at=self._now(), writes=(renewed,))
        return isinstance(self._persistence.write(changes), Written)

    def release_stale_jobs(self, stale_threshold: float = 0.0) -> int:
        """Releases expired leases: the job is PENDING again, or FAILED when its attempts are spent."""
        stale = self._persistence.read(lambda tx: tx.jobs.expired(_BATCH, older_than=stale_threshold))
        return sum(self._release(job) for job in stale)

    def cancel_by_run(self, workflow_run_id: str) -> int:
        cancelled: list[JobRecord] = []

        def decide(locked: LockedRun) -> Changes | Refused:
            cancelled[:] = [job for job in locked.jobs() if job.status in OPEN_JOBS]
            at = locked.tx.now()
            return Changes(run_id=workflow_run_id, at=at, writes=cancel_rows((), cancelled, at))

        self._persistence.decide(workflow_run_id, decide)
        return len(cancelled)

    def get_jobs_by_workflow_run(self, workflow_run_id: str) -> Sequence[JobRecord]:
        return self._persistence.read(lambda tx: tx.jobs.of_run(workflow_run_id))

    def _now(self) -> datetime:
        return self._persistence.read(lambda tx: tx.now())

    def _get(self, job_id: str) -> JobRecord:
        return self._persistence.read(lambda tx: tx.jobs.get(job_id))

    def _release(self, job: JobRecord) -> bool:
        expired: Condition = {"lease_until": PASSED}
        if job.attempt >= job.max_attempts:
            return self._end_lease(job, job.lease_token, JobStatus.FAILED, _TAKEN, expired)
        return self._end_lease(job, job.lease_token, JobStatus.PENDING, {**_TAKEN, **_due(job, 0.0)}, expired)

    def _end_lease(
        self, seen: JobRecord, token: str | None, to: JobStatus, patch: JobPatch, expect: Condition | None = None
    ) -> bool:
        def decide(locked: LockedRun) -> Changes | Refused:
            job = locked.job
            if job is None or job.status is not JobStatus.RUNNING or token not in {None, job.lease_token}:
                return Refused(Reason.LOST)
            moved = move_job(job, to, patch, expect=expect)
            return Changes(run_id=job.workflow_run_id, at=locked.tx.now(), writes=(moved,))

        return isinstance(self._persistence.decide(seen.workflow_run_id, decide, job_id=seen.id), Written)


def _due(job: JobRecord, seconds: float) -> JobPatch:
    return {"due_at": FromNow(seconds), "rank": FromNow(seconds - job.priority * SECONDS_PER_PRIORITY)}


class InMemoryJobQueue(JobQueue):
    """Job rows in an `InMemoryPersistence`, notifications in this process."""


class SqlJobQueue(JobQueue):
    """Job rows in a `SqlPersistence`: a worker of any process claims with one statement."""
