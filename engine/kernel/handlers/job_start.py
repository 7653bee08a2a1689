from engine.kernel.deliveries import Delivery, JobStart
from engine.kernel.deps import Deps
from engine.kernel.finishing import new_delivery
from engine.ports.persistence import Claim, ClaimRequest, NoClaim
from engine.ports.write_set import Lease


def handle(command: JobStart, deps: Deps) -> Delivery | NoClaim:
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
    return new_delivery(claim, deps) if isinstance(claim, Claim) else claim
