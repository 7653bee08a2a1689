from engine.kernel.attempts import LeaseRelease
from engine.kernel.deps import Deps
from engine.kernel.leases import release_lease


def handle(command: LeaseRelease, deps: Deps) -> int:
    jobs = deps.persistence.read(lambda tx: tx.jobs.held_by(command.worker_ids)) if command.worker_ids else ()
    return sum(release_lease(job, deps, expired=False, uncounted=command.uncounted) for job in jobs)
