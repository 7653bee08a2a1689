from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class JobNotification:
    """Notifies a worker of `pool` that a job may be claimable in `delay` seconds."""

    job_id: str
    workflow_run_id: str
    workflow_id: str
    stage_id: str
    pool: str
    tenant: str | None = None
    delay: float = 0.0


class JobTransport(Protocol):
    """Notifies workers of job rows that are already committed.

    A notification that is lost, duplicated, delayed or reordered changes only the latency. So `notify` logs its
    failures and raises none: the jobs are committed.
    """

    def notify(self, notifications: Sequence[JobNotification]) -> None: ...
