"""One transition of one run, as data.

The kernel's pure steps build a `WriteSet` from what was read; a store applies it atomically and in this order:

1. `key` is inserted; if it exists already nothing else happens (KEY_EXISTS).
2. `create` is inserted, or the run row is locked: its status must be in `run_in` and its version `expected_version`.
3. `job` and `stage` are checked against their guards, then everything is written.
4. A job sent back to PENDING, or SUSPENDED, while its run is failing is CANCELLED instead, with its stage, and counts
   as closed.
5. `removes` are deleted; their jobs are CANCELLED and their annotations lose the link.
6. `closes` decides what becomes of the open stages. STAGE: one less is open. GROUP: this stage failed for good: the
   run's failure is set unless it has one, PENDING and SUSPENDED siblings and waiting retries are CANCELLED, RUNNING
   jobs stay open. DONE: nothing of the group is open, whatever was counted (the caller looked, and guards by version).
   RUN: every stage and job that is not terminal is CANCELLED.
7. When no stage of the group is open any more (`closes` STAGE, GROUP or DONE): a run with a failure becomes FAILED and
   emits `failed_event`; otherwise `then` is applied: the next group opens, or the run completes.
8. Events get the run's next sequences in the order: annotations', `events`, then those of step 7. A
   `stage:completed` is given the totals that the stage has by then.

Steps 2 and 3 refuse without writing anything. Durations are given in seconds, because leases and due times are
measured on the store's clock; everything else is stamped with `at`, the kernel's clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from engine.domain.events import Event
from engine.domain.lifecycle import Status
from engine.domain.records import (
    AnnotationRecord,
    ArtifactRecord,
    KeyRecord,
    LogRecord,
    RunRecord,
    StageRecord,
)
from engine.domain.stored_value import StoredValue

type Patch = Mapping[str, Any]
"""Column name → new value, in Python types. Columns not named keep their value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDraft:
    """A job to insert. With `lease` it is born RUNNING at its first attempt, otherwise PENDING and due now."""

    id: str
    stage_record_id: str
    stage_id: str
    pool: str
    priority: int
    max_attempts: int
    trace_context: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Who holds a job, under which token, for how many seconds from now."""

    worker_id: str
    token: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JobChange:
    """Moves a job from `status_in` to `to`.

    `token`, when given, must be the job's lease token. With `expired` its lease must have run out on the store's clock.
    `due_in` (seconds) is when a job sent back to PENDING may run again; `uncounted` allows it one more claim in
    place of the last, which keeps its number: what was booked under it, idempotency keys and model calls, stays apart.
    """

    job_id: str
    to: Status
    status_in: frozenset[Status] = frozenset({Status.RUNNING})
    token: str | None = None
    expired: bool = False
    renew: float | None = None
    due_in: float = 0.0
    uncounted: bool = False
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StageChange:
    """Patches a stage record whose status is in `status_in` and, when given, whose poll claim is `poll_token`."""

    record_id: str
    status_in: frozenset[Status]
    patch: Patch
    poll_token: str | None = None


class Closes(StrEnum):
    NOTHING = "NOTHING"
    STAGE = "STAGE"
    GROUP = "GROUP"
    DONE = "DONE"
    RUN = "RUN"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenGroup:
    """Starts an execution group: records and jobs, one job per stage. `lease` claims the only job at once."""

    group_no: int
    stages: tuple[StageRecord, ...]
    jobs: tuple[JobDraft, ...]
    events: tuple[Event, ...] = ()
    lease: Lease | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CompleteRun:
    """Ends the run well. Without `output` it becomes {"stages": …} of the outputs of the current group."""

    event: Event
    output: StoredValue | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotationDraft:
    """An annotation and the event that tells of it. A duplicate by (run, key, idempotency key) drops both."""

    record: AnnotationRecord
    event: Event | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteSet:
    run_id: str
    at: datetime
    key: KeyRecord | None = None
    create: RunRecord | None = None
    run_in: frozenset[Status] = frozenset({Status.RUNNING})
    expected_version: int | None = None
    run: Patch = field(default_factory=dict)
    job: JobChange | None = None
    stage: StageChange | None = None
    cost: float = 0.0
    tokens: int = 0
    removes: tuple[str, ...] = ()
    opens: OpenGroup | None = None
    closes: Closes = Closes.NOTHING
    then: OpenGroup | CompleteRun | None = None
    failed_event: Event | None = None
    jobs: tuple[JobDraft, ...] = ()
    logs: tuple[LogRecord, ...] = ()
    artifacts: tuple[ArtifactRecord, ...] = ()
    annotations: tuple[AnnotationDraft, ...] = ()
    events: tuple[Event, ...] = ()
    causation_id: str | None = None


class Verdict(StrEnum):
    """What became of a write set. Only APPLIED wrote anything."""

    APPLIED = "APPLIED"
    REPEAT = "REPEAT"  # the same finish, or creation, was applied before
    GHOST = "GHOST"  # the run is not in the state the transition needs
    LOST = "LOST"  # the job or stage belongs to somebody else by now
    STALE = "STALE"  # the run's version is not the expected one
    KEY_EXISTS = "KEY_EXISTS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """The verdict, and the run as it is afterwards.

    `closed`: this write set closed its group, so `then` (or the failure) took effect. `key`: the record found, with
    KEY_EXISTS. `lease_until`: the end of the lease that `then` or `job.renew` took.
    """

    verdict: Verdict
    run_status: Status | None = None
    run_version: int = 0
    closed: bool = False
    failing: bool = False
    key: KeyRecord | None = None
    lease_until: datetime | None = None
