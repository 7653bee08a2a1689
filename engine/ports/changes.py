"""A transition as rows: conditions, updates, inserts and events.

`engine.transitions` decides a transition and returns it as `Changes`. A store writes `Changes` in one transaction,
without knowledge of statuses:

1. `run`, then `writes`, are done in their order. Callers keep the lock order run → stage → job → rest, so that no
   transaction deadlocks another.
2. An update or check whose condition does not hold, and an insert of a row that exists (unless `skip_existing`),
   refuses the transaction: nothing is written.
3. Each update also sets `updated_at` to `at`.
4. Events get the run's next sequences (gapless) and one time, which never lies before that of an earlier event of the
   run: `event_seq` is raised by their number and `last_event_at` to the later of itself and `at`.

Conditions are narrow: they name only the columns that the decision rests on. Counters are increments, not values. So
two transactions that are independent do not refuse each other. Leases and due times are measured on the store's
clock (`FromNow`, `PASSED`); everything else is stamped with `at`, the kernel's clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum, StrEnum
from typing import Any, ClassVar, TypedDict

from engine.domain.events import Event
from engine.domain.lifecycle import JobStatus, RunStatus, StageStatus
from engine.domain.records import (
    AnnotationRecord,
    ArtifactRecord,
    JobRecord,
    KeyRecord,
    LogRecord,
    RunRecord,
    StageRecord,
)
from engine.domain.values import Json, StoredValue

type Record = RunRecord | StageRecord | JobRecord | LogRecord | ArtifactRecord | AnnotationRecord | KeyRecord


@dataclass(frozen=True, slots=True)
class FromNow:
    """A time on the store's clock, `seconds` after the moment of writing. Waiting for a lock does not shorten it."""

    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class AtLeast:
    """Condition: the column is not NULL and at least `value`."""

    value: int


class Passed(Enum):
    PASSED = "passed"


PASSED = Passed.PASSED
"""Condition: the time in the column has passed on the store's clock."""

type Condition = Mapping[str, str | int | float | AtLeast | Passed | frozenset[str] | None]
"""Column → the value it must have (None is NULL), a frozenset of which it must have one, `AtLeast` or `PASSED`.

Texts and numbers only. Times and documents are excluded, because equal ones may be written differently."""


type Patch = Mapping[str, Any]
"""Column → new value, in Python types. Columns not named keep their value."""


class RunPatch(TypedDict, total=False):
    status: RunStatus
    output: StoredValue | None
    group_no: int
    group_open: int
    started_at: datetime | None
    completed_at: datetime | None
    duration_ms: int | None
    failure_code: str | None
    failure_message: str | None


class StagePatch(TypedDict, total=False):
    status: StageStatus
    started_at: datetime | None
    completed_at: datetime | None
    duration_ms: int | None
    output_data: StoredValue | None
    suspended_state: Mapping[str, Json] | None
    next_poll_at: datetime | None
    poll_interval_s: float | None
    max_wait_until: datetime | None
    poll_token: str | None
    poll_until: datetime | None
    metrics: Mapping[str, Json] | None
    embedding_info: Mapping[str, Json] | None
    progress: Mapping[str, Json] | None
    error_code: str | None
    error_message: str | None


class JobPatch(TypedDict, total=False):
    status: JobStatus
    due_at: datetime | FromNow
    rank: datetime | FromNow
    worker_id: str | None
    lease_token: str | None
    lease_until: datetime | FromNow | None
    last_error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Insert:
    """New rows of one kind. `from_now` sets columns of all rows to the store's time plus these seconds."""

    rows: tuple[Record, ...]
    from_now: Mapping[str, float] = field(default_factory=dict)
    skip_existing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Update:
    """Changes columns of all the rows named. `expect` must hold for each of them.

    `add` increments columns; `latest` sets a time unless the column is later already.
    """

    ids: tuple[str, ...]
    add: Mapping[str, int] = field(default_factory=dict)
    latest: Mapping[str, datetime] = field(default_factory=dict)
    expect: Condition = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunUpdate(_Update):
    record: ClassVar[type[RunRecord]] = RunRecord
    set: RunPatch = field(default_factory=RunPatch)


@dataclass(frozen=True, slots=True, kw_only=True)
class StageUpdate(_Update):
    record: ClassVar[type[StageRecord]] = StageRecord
    set: StagePatch = field(default_factory=StagePatch)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobUpdate(_Update):
    record: ClassVar[type[JobRecord]] = JobRecord
    set: JobPatch = field(default_factory=JobPatch)


type Update = RunUpdate | StageUpdate | JobUpdate


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Deletes rows. Rows that refer to them are deleted too, or their reference becomes NULL."""

    record: type[StageRecord]
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A condition on a row that is neither written nor locked: it holds when it is checked, not until the commit."""

    record: type[RunRecord]
    id: str
    expect: Condition


type Write = Insert | Update | Delete | Check


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """One transaction on one run. Events need `run`, an update of the run's row or its insert."""

    run_id: str
    at: datetime
    run: RunUpdate | Insert | None = None
    writes: tuple[Write, ...] = ()
    events: tuple[Event, ...] = ()
    causation_id: str | None = None

    def __post_init__(self) -> None:
        assert not self.events or self.run is not None, "events take their sequence from the run's row"

    def steps(self) -> tuple[Write, ...]:
        """All writes in order. The update of the run also takes the sequences of the events."""
        match self.run:
            case None:
                return self.writes
            case Insert(rows=(RunRecord() as run,)):
                numbered = replace(run, event_seq=len(self.events), last_event_at=self.at if self.events else None)
                return (replace(self.run, rows=(numbered,)), *self.writes)
            case RunUpdate() if self.events:
                taken = {**self.run.add, "event_seq": len(self.events)}
                return (
                    replace(self.run, add=taken, latest={**self.run.latest, "last_event_at": self.at}),
                    *self.writes,
                )
            case _:
                return (self.run, *self.writes)

    def inserted[R](self, record: type[R]) -> tuple[R, ...]:
        """The rows of that kind that are inserted."""
        inserts = (write for write in self.writes if isinstance(write, Insert))
        return tuple(row for insert in inserts for row in insert.rows if isinstance(row, record))


class Reason(StrEnum):
    REPEAT = "REPEAT"  # the same transition was committed before
    GHOST = "GHOST"  # the run has not the status that the transition needs
    LOST = "LOST"  # another worker or poller holds the job or stage
    NOTHING = "NOTHING"  # the run needs no change


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was written. `reason` is None if a condition failed in the store."""

    reason: Reason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The committed changes, the time on the store's clock, and the sequence of the last event (0 without events)."""

    changes: Changes
    now: datetime
    last_sequence: int = 0
