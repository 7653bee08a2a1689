"""The internal commands of hosts: claim a job, renew its lease, finish it, continue with the next stage.

They contain Python objects, so they have no JSON form.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from engine.definition.stage import Stage
from engine.execution.attempt import Attempt
from engine.ports.persistence import Lease, NoClaim
from engine.transitions.facts import Ghost, Outcome


class Internal[R]:
    """A command without a JSON form; `R` is the type of its answer."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStart(Internal[Attempt | NoClaim]):
    """Claim a job: that with `job_id`, or the first due one of the pools (of one run, if given)."""

    worker_id: str
    lease_seconds: float
    pools: tuple[str, ...] = ()
    job_id: str | None = None
    run_id: str | None = None


class LeaseState(StrEnum):
    HELD = "HELD"
    LOST = "LOST"
    CANCELLED = "CANCELLED"  # the run is no longer RUNNING, or is failing


@dataclass(frozen=True, slots=True, kw_only=True)
class JobHeartbeat(Internal[LeaseState]):
    """Renew the lease, and write logs and progress since the last heartbeat."""

    attempt: Attempt
    lease_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The outcome of an attempt. `next` is the attempt of the next stage, claimed already."""

    outcome: Outcome | Ghost
    next: Attempt | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFinish(Internal[Finished]):
    """Commit an outcome, advance the run and, when `lease` is given and `may_start` agrees, claim its next stage."""

    attempt: Attempt
    outcome: Outcome
    lease: Lease | None = None
    may_start: Callable[[Stage[Any, Any, Any]], bool] = lambda _stage: True


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRelease(Internal[bool]):
    """Release the lease uncounted: the job is PENDING again, and due in `seconds`."""

    attempt: Attempt
    seconds: float = 0.0
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobTimeout(Internal[bool]):
    """Fail an attempt with `StageTimeout`, so that its late result cannot be committed."""

    workflow_run_id: str
    job_id: str
    lease_token: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRenewal(Internal[bool]):
    """Renew a lease from the parent of the process that runs the body. False if it is lost or the run has ended."""

    workflow_run_id: str
    job_id: str
    lease_token: str
    lease_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRelease(Internal[int]):
    """Release all leases of these workers. `uncounted`: the workers are alive and return their jobs."""

    worker_ids: tuple[str, ...]
    uncounted: bool = False
