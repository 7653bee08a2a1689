from engine.kernel.attempts import Attempt, JobStart
from engine.kernel.deps import Deps
from engine.kernel.finishing import new_attempt
from engine.ports.persistence import Claim, ClaimRequest, NoClaim
from engine.ports.write_set import Lease


def handle(command: JobStart, deps: Deps) -> Attempt | NoClaim:
    lease = Lease(worker_id=command.worker_id, token=deps.ids.token(), seconds=command.lease_seconds)
    claim = deps.persistence.claim(
        ClaimRequest(
            lease=lease,
            at=deps.clock.now(),
            pools=command.pools,
            job_id=command.job_id,
            run_id=command.run_id,
        )
    )
    return new_attempt(claim, deps) if isinstance(claim, Claim) else claim
