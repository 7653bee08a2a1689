from engine.kernel.deliveries import JobRelease
from engine.kernel.deps import Deps
from engine.kernel.leases import take_back


def handle(command: JobRelease, deps: Deps) -> bool:
    return take_back(command.delivery.claim.job, deps, expired=False, refund=True)
