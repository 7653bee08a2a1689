from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from engine.domain.records import JobRecord, RunRecord, StageRecord
from engine.domain.values import StoredValue
from engine.ports.changes import Changes, Refused, Written
from engine.ports.transaction import Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A lease: the worker that holds a job, its token, and the seconds from now."""

    worker_id: str
    token: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRequest:
    """Ask for one job: the one named by `job_id`, or the first due one of `pools` (of `run_id` only, if given)."""

    lease: Lease
    at: datetime
    pools: tuple[str, ...] = ()
    job_id: str | None = None
    run_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A claimed job with all its body needs. `previous` are the outputs of the group before, by stage id."""

    run: RunRecord
    stage: StageRecord
    job: JobRecord
    previous: Mapping[str, StoredValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoClaim:
    """Nothing to run. `later_at` is when the job asked for by id may be claimed; None means never, or nothing due."""

    later_at: datetime | None = None


class LockedRun(Protocol):
    """A run whose row is held until the decision about it is written. Everything is read after the lock."""

    @property
    def run(self) -> RunRecord | None: ...
    @property
    def stage(self) -> StageRecord | None:
        """The stage of `job`."""

    @property
    def job(self) -> JobRecord | None:
        """The job that was asked for."""

    @property
    def tx(self) -> Tx: ...
    def stages(self) -> Sequence[StageRecord]:
        """All of the run, by (execution_group, stage_number)."""

    def jobs(self) -> Sequence[JobRecord]:
        """All of the run, oldest first."""


type Decision = Callable[[LockedRun], Changes | Refused]


class Persistence(Protocol):
    """Keeps the engine's state.

    `write` is one transaction that writes `Changes` (their module says how), or nothing: `Refused`. `decide` is one
    that locks a run, asks for `Changes` and writes them; the job named `job_id` and its stage are read along with the
    run. A connection that is lost is tried again, the commit included, so a decision must recognise its own
    repetition. `claim` is one transaction that takes a job and starts its stage: the job is PENDING and due, or (by
    id) RUNNING with an expired lease and attempts left, or already held under the same token; its run is RUNNING and
    not failing. It raises the job's `attempt` (not for the same token), sets the lease, turns the stage RUNNING and
    emits `stage:started`. Of several due jobs the lowest `rank` wins; two workers never get the same one.

    `transact` runs `work` in one transaction: it commits when `work` returns and rolls back when it raises. `read` runs
    `work` without a transaction and commits nothing; writing through its `tx` is an error. Serialization failures,
    deadlocks and a database that is restarting, resuming or failing over run the WHOLE of `work` or of the
    decision again, with jitter and bounded by time, so neither does I/O of its own. When time is up:
    `StoreUnavailable`. Every transaction locks run → stage → job → rest, so that none deadlocks another.
    """

    def write(self, changes: Changes) -> Written | Refused: ...
    def decide(
        self, run_id: str, decision: Decision, *, job_id: str | None = None, whole: bool = False
    ) -> Written | Refused: ...
    def claim(self, request: ClaimRequest) -> Claim | NoClaim: ...
    def transact[T](self, work: Callable[[Tx], T]) -> T: ...
    def read[T](self, work: Callable[[Tx], T]) -> T: ...
    def close(self) -> None: ...
