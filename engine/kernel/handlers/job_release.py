from engine.kernel.deliveries import JobRelease
from engine.kernel.deps import Deps
from engine.kernel.leases import take_back


def handle(command: JobRelease, deps: Deps) -> bool:
    job = command.delivery.claim.job
    return take_back(job, deps, expired=False, refund=True, seconds=command.seconds, why=command.why)
