"""An attempt: a claimed job in this process."""

from dataclasses import dataclass

from engine.execution.recorder import Recorder
from engine.ports.deps import Deps
from engine.ports.persistence import Claim


class CancelFlag:
    """Signals cancellation to a body. The lease keeper sets it, once."""

    __slots__ = ("cancelled",)

    def __init__(self) -> None:
        self.cancelled = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """A claim, with the records of its body and its cancellation flag."""

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
