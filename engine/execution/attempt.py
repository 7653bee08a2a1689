"""One claimed job in this process."""

from dataclasses import dataclass

from engine.execution.recorder import Recorder
from engine.ports.deps import Deps
from engine.ports.persistence import Claim


class CancelFlag:
    """Tells a body that its run no longer wants it. Set once, by whoever keeps the lease."""

    __slots__ = ("cancelled",)

    def __init__(self) -> None:
        self.cancelled = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """What was claimed, what its body recorded, whether it should stop."""

    claim: Claim
    recorder: Recorder
    cancellation: CancelFlag

    @property
    def token(self) -> str:
        token = self.claim.job.lease_token
        assert token is not None, "a claimed job has a token"
        return token


def new_attempt(claim: Claim, deps: Deps) -> Attempt:
    recorder = Recorder(claim.stage, claim.run.workflow_id, clock=deps.clock, ids=deps.ids, attempt=claim.job.attempt)
    return Attempt(claim, recorder, CancelFlag())
