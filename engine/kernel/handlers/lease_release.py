from engine.kernel.deliveries import LeaseRelease
from engine.kernel.deps import Deps
from engine.kernel.leases import take_back


def handle(command: LeaseRelease, deps: Deps) -> int:
    jobs = deps.persistence.read(lambda tx: tx.jobs.held_by(command.worker_ids)) if command.worker_ids else ()
    return sum(take_back(job, deps, expired=False, refund=command.refund) for job in jobs)
