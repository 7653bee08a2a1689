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
    """A lease on a job: its worker, its token, and its length in seconds from now."""

    worker_id: str
    token: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRequest:
    """A request for one job: that with `job_id`, or the first due one of `pools` (of `run_id` only, if given)."""

    lease: Lease
    at: datetime
    pools: tuple[str, ...] = ()
    job_id: str | None = None
    run_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A claimed job with its run and stage. `previous`: the outputs of the previous group by stage id."""

    run: RunRecord
    stage: StageRecord
    job: JobRecord
    previous: Mapping[str, StoredValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoClaim:
    """No job was claimed. `later_at`: the time at which the job with `job_id` may be claimed, if there is one."""

    later_at: datetime | None = None


class LockedRun(Protocol):
    """A run whose row is locked until the decision is written. All rows are read under the lock."""

    @property
    def run(self) -> RunRecord | None: ...
    @property
    def stage(self) -> StageRecord | None:
        """The stage of `job`."""

    @property
    def job(self) -> JobRecord | None:
        """The job with `job_id`."""

    @property
    def tx(self) -> Tx: ...
    def stages(self) -> Sequence[StageRecord]:
        """All stages of the run, by (execution_group, stage_number)."""

    def jobs(self) -> Sequence[JobRecord]:
        """All jobs of the run, oldest first."""


type Decision = Callable[[LockedRun], Changes | Refused]


class Persistence(Protocol):
    """The store of the engine's state. All methods but `read` are one transaction.

    `write` writes `Changes` (by the rules of `engine.ports.changes`), or nothing: `Refused`. `decide` locks a run,
    reads it with the job `job_id` and its stage, calls the decision and writes its `Changes`. After a lost connection
    the transaction is repeated, even if the commit was sent, so a decision must recognise its own repetition.

    `claim` claims a job and starts its stage. The job is PENDING and due, or (by id) RUNNING with an expired lease and
    attempts left, or RUNNING under the same token; its run is RUNNING and not failing. The claim raises the job's
    `attempt` (not for the same token), sets the lease, sets the stage RUNNING and emits `stage:started`. Of several due
    jobs the one with the lowest `rank` is claimed. Two workers never claim the same job.

    `transact` runs `work` in one transaction: it commits when `work` returns and rolls back when it raises. `read` runs
    `work` without a transaction and commits nothing; writing through its `tx` is an error. Serialization failures,
    deadlocks and a database that is restarting, resuming or failing over repeat the WHOLE of `work` or of the
    decision, with jitter and bounded by time, so neither may do I/O of its own. After that time `StoreUnavailable` is
    raised. Every transaction locks run → stage → job → rest, so that no two deadlock.
    """

    def write(self, changes: Changes) -> Written | Refused: ...
    def decide(
        self, run_id: str, decision: Decision, *, job_id: str | None = None, whole: bool = False
    ) -> Written | Refused: ...
    def claim(self, request: ClaimRequest) -> Claim | NoClaim: ...
    def transact[T](self, work: Callable[[Tx], T]) -> T: ...
    def read[T](self, work: Callable[[Tx], T]) -> T: ...
    def close(self) -> None: ...
