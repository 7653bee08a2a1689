from engine.kernel.attempts import JobRelease
from engine.kernel.deps import Deps
from engine.kernel.leases import release_lease


def handle(command: JobRelease, deps: Deps) -> bool:
    job = command.attempt.claim.job
    return release_lease(job, deps, expired=False, uncounted=True, seconds=command.seconds, reason=command.reason)
