"""The queue as callers without a host use it: job rows over any Persistence, and notifications within this process.

Hosts finish jobs together with their stages and runs through the kernel. The calls here change job rows alone; they
do nothing to a job that has moved on, so they may follow a `job.execute` that did it all already.
"""

import secrets
from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from engine.definition.retry import RetryPolicy
from engine.domain.errors import NotFound
from engine.domain.lifecycle import OPEN, Status, check_move
from engine.domain.records import JobRecord
from engine.kernel.in_process_job_transport import InProcessJobTransport
from engine.ports.persistence import Claim, ClaimRequest, Persistence
from engine.ports.transaction import LeaseState, Tx
from engine.ports.write_set import Lease

_BATCH = 100
_ENDED = {"lease_until": None}
_TAKEN = {"lease_until": None, "lease_token": None, "worker_id": None}


class JobQueue(InProcessJobTransport):
    def __init__(self, persistence: Persistence, *, retry: RetryPolicy | None = None) -> None:
        super().__init__()
        self._persistence = persistence
        self._retry = retry or RetryPolicy(jitter=0)

    def enqueue_parallel(self, jobs: Iterable[JobRecord]) -> tuple[str, ...]:
        """Inserts all or none. Gives their ids."""
        rows = tuple(jobs)
        self._persistence.transact(lambda tx: tx.jobs.insert(rows))
        return tuple(job.id for job in rows)

    def dequeue(
        self,
        *,
        worker_id: str = "queue",
        pools: Sequence[str] = ("default",),
        lease_seconds: float = 300.0,
    ) -> JobRecord | None:
        """Claims the most urgent due job and starts its stage."""
        lease = Lease(worker_id=worker_id, token=secrets.token_urlsafe(24), seconds=lease_seconds)
        at = self._persistence.read(lambda tx: tx.now())
        claim = self._persistence.claim(ClaimRequest(lease=lease, at=at, pools=tuple(pools)))
        return claim.job if isinstance(claim, Claim) else None

    def complete(self, job_id: str, *, lease_token: str | None = None) -> bool:
        return self._finish(job_id, lease_token, Status.COMPLETED, _ENDED)

    def suspend(self, job_id: str, *, lease_token: str | None = None) -> bool:
        return self._finish(job_id, lease_token, Status.SUSPENDED, _ENDED)

    def fail(self, job_id: str, error: str, *, retry: bool = False, lease_token: str | None = None) -> bool:
        """With `retry` the job is PENDING again after a growing wait, while it has attempts left."""

        def work(tx: Tx) -> bool:
            job = _held(tx, job_id, lease_token)
            if job is None:
                return False
            if retry and job.attempt < job.max_attempts:
                due = tx.now() + timedelta(seconds=self._retry.delay(job.attempt, 0.0))
                _move(tx, job, Status.PENDING, {**_TAKEN, "due_at": due, "last_error": error})
            else:
                _move(tx, job, Status.FAILED, {**_ENDED, "last_error": error})
            return True

        return self._persistence.transact(work)

    def touch_job(self, job_id: str, *, lease_token: str | None = None, lease_seconds: float = 300.0) -> LeaseState:
        """Extends the lease of whoever holds the job, or of the given token only."""

        def work(tx: Tx) -> LeaseState:
            token = lease_token or tx.jobs.get(job_id).lease_token or ""
            return tx.jobs.renew(job_id, token, lease_seconds)

        return self._persistence.transact(work)

    def release_stale_jobs(self, stale_threshold: float = 0.0) -> int:
        """Jobs whose lease ran out that many seconds ago: PENDING again, or FAILED when their attempts are spent."""
        stale = self._persistence.read(lambda tx: tx.jobs.expired(_BATCH, older_than=stale_threshold))
        return sum(self._persistence.transact(partial(_release, stale=job)) for job in stale)

    def cancel_by_run(self, workflow_run_id: str) -> int:
        def work(tx: Tx) -> int:
            tx.runs.lock(workflow_run_id)
            jobs = [job for job in tx.jobs.of_run(workflow_run_id) if job.status in OPEN]
            for job in jobs:
                _move(tx, job, Status.CANCELLED, {"lease_until": None, "lease_token": None})
            return len(jobs)

        return self._persistence.transact(work)

    def get_jobs_by_workflow_run(self, workflow_run_id: str) -> Sequence[JobRecord]:
        return self._persistence.read(lambda tx: tx.jobs.of_run(workflow_run_id))

    def _finish(self, job_id: str, lease_token: str | None, to: Status, patch: dict[str, Any]) -> bool:
        def work(tx: Tx) -> bool:
            job = _held(tx, job_id, lease_token)
            if job is not None:
                _move(tx, job, to, patch)
            return job is not None

        return self._persistence.transact(work)


def _held(tx: Tx, job_id: str, lease_token: str | None) -> JobRecord | None:
    found = tx.jobs.find(job_id)
    if found is None:
        raise NotFound("job", job_id)
    tx.runs.lock(found.workflow_run_id)
    job = tx.jobs.get(job_id)
    return job if job.status is Status.RUNNING and lease_token in {None, job.lease_token} else None


def _release(tx: Tx, stale: JobRecord) -> bool:
    job = _held(tx, stale.id, stale.lease_token)
    if job is None or job.lease_until is None or job.lease_until > tx.now():
        return False
    spent = job.attempt >= job.max_attempts
    due = {} if spent else {"due_at": tx.now()}
    _move(tx, job, Status.FAILED if spent else Status.PENDING, {**_TAKEN, **due})
    return True


def _move(tx: Tx, job: JobRecord, to: Status, patch: dict[str, Any]) -> None:
    check_move("job", job.status, to)
    tx.jobs.update(job.id, {**patch, "status": to})
