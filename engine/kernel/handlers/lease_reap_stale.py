from engine.kernel.commands import LeaseReapStale, LeaseReapStaleResult
from engine.kernel.deps import Deps
from engine.kernel.leases import release_lease

LEASE_SECONDS = 300.0


def handle(command: LeaseReapStale, deps: Deps) -> LeaseReapStaleResult:
    older_than = max(0.0, command.stale_threshold - LEASE_SECONDS)
    jobs = deps.persistence.read(lambda tx: tx.jobs.expired(command.max_releases, older_than=older_than))
    return LeaseReapStaleResult(released=sum(release_lease(job, deps, expired=True) for job in jobs))
