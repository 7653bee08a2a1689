from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Doorbell:
    """Tells a worker of `pool` that a job row may be claimable `delay` seconds from now."""

    job_id: str
    workflow_run_id: str
    workflow_id: str
    stage_id: str
    pool: str
    tenant: str | None = None
    delay: float = 0.0


class JobTransport(Protocol):
    """Rings doorbells for job rows that are already committed.

    Losing, duplicating, delaying or reordering a doorbell changes nothing but latency, so `notify` raises nothing that
    would undo what was committed: it logs its failures.
    """

    def notify(self, doorbells: Sequence[Doorbell]) -> None: ...
