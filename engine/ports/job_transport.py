from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class JobNotification:
    """Tells a worker of `pool` that a job row may be claimable `delay` seconds from now."""

    job_id: str
    workflow_run_id: str
    workflow_id: str
    stage_id: str
    pool: str
    tenant: str | None = None
    delay: float = 0.0


class JobTransport(Protocol):
    """Notifies workers of job rows that are already committed.

    Losing, duplicating, delaying or reordering a notification changes nothing but latency. So `notify` raises nothing
    that would undo the commit; it logs its failures.
    """

    def notify(self, notifications: Sequence[JobNotification]) -> None: ...
