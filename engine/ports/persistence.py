from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from engine.domain.records import JobRecord, RunRecord, StageRecord
from engine.domain.stored_value import StoredValue
from engine.ports.transaction import Tx
from engine.ports.write_set import Applied, Lease, WriteSet


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRequest:
    """Ask for one job: the one named by `job_id`, or the most urgent due one of `pools` (of `run_id` only, if
    given).
    """

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


class Persistence(Protocol):
    """Keeps the engine's state.

    `transact` runs `work` in one transaction: it commits when `work` returns and rolls back when it raises.
    Serialization failures, deadlocks and a database that is restarting, resuming or failing over run the WHOLE of
    `work` again, with jitter and bounded by time, so `work` does no I/O of its own. When time is up:
    `StoreUnavailable`. `read` runs `work` without a transaction and commits nothing; writing through its `tx` is an
    error. `apply` is one transaction that applies a `WriteSet` (its module says how). A lost connection is tried
    again: a fenced write set then answers REPEAT if the first try had been committed. `claim` is one transaction that
    takes a job and starts its stage: the job is PENDING and due, or (by id) RUNNING with an expired lease and
    attempts left, or already held under the same token; its run is RUNNING and not failing. It raises the job's
    `attempt` (not for the same token), sets the lease, turns the stage RUNNING and emits `stage:started`. Of several
    due jobs the highest priority wins, then the earliest due; two workers never get the same one. Every transaction
    locks run → stage → job → rest, so that none deadlocks another.
    """

    def transact[T](self, work: Callable[[Tx], T]) -> T: ...
    def read[T](self, work: Callable[[Tx], T]) -> T: ...
    def apply(self, write_set: WriteSet) -> Applied: ...
    def claim(self, request: ClaimRequest) -> Claim | NoClaim: ...
    def close(self) -> None: ...
