"""Leases of workers: renewal, and release when they expire or their worker is dead."""

from engine.kernel.commands import LeaseReapStale, LeaseReapStaleResult
from engine.kernel.host_commands import LeaseRelease, LeaseRenewal
from engine.kernel.leases import release_lease
from engine.ports.changes import Written
from engine.ports.deps import Deps
from engine.transitions.keep_lease import renew_lease

LEASE_SECONDS = 300.0


def reap_stale(command: LeaseReapStale, deps: Deps) -> LeaseReapStaleResult:
    older_than = max(0.0, command.stale_threshold - LEASE_SECONDS)
    jobs = deps.persistence.read(lambda tx: tx.jobs.expired(command.max_releases, older_than=older_than))
    return LeaseReapStaleResult(released=sum(release_lease(job, deps, expired=True) for job in jobs))


def release_of_workers(command: LeaseRelease, deps: Deps) -> int:
    jobs = deps.persistence.read(lambda tx: tx.jobs.held_by(command.worker_ids)) if command.worker_ids else ()
    return sum(release_lease(job, deps, expired=False, uncounted=command.uncounted) for job in jobs)


def renew(command: LeaseRenewal, deps: Deps) -> bool:
    changes = renew_lease(
        command.workflow_run_id, command.job_id, command.lease_token, command.lease_seconds, deps.clock.now()
    )
    return isinstance(deps.persistence.write(changes), Written)
