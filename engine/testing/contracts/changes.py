"""`Changes` for the suites: the plain rows of everyday transitions, and short ways to write what a test needs.

They have the conditions that the engine's transitions have, but none of their rules.
"""

from collections.abc import Mapping
from itertools import groupby
from typing import Any

from engine.domain.events import StageCompleted, StageEvent, StageFailed, StageSuspended, WorkflowCancelled
from engine.domain.lifecycle import JobStatus, RunStatus, StageStatus
from engine.domain.records import AnnotationRecord, KeyRecord, RunRecord
from engine.domain.values import inline
from engine.ports.changes import (
    Changes,
    Condition,
    FromNow,
    Insert,
    JobPatch,
    JobUpdate,
    Record,
    Refused,
    RunUpdate,
    StagePatch,
    StageUpdate,
    Write,
    Written,
)
from engine.ports.persistence import Persistence
from engine.testing.contracts.rows import AT, a_job, a_run, a_stage, an_event, at, names

VERSION: Mapping[str, int] = {"version": 1}


def changes(*writes: Write, run_id: str = "r", seconds: float = 0, **fields: Any) -> Changes:
    return Changes(run_id=run_id, at=at(seconds), writes=writes, **fields)


def written(store: Persistence, *writes: Write, **fields: Any) -> Written:
    """Writes, which must not be refused."""
    return applied(store, changes(*writes, **fields))


def applied(store: Persistence, wanted: Changes) -> Written:
    answer = store.write(wanted)
    assert isinstance(answer, Written), f"refused: {wanted}"
    return answer


def refused(store: Persistence, *writes: Write, **fields: Any) -> bool:
    """Whether the store refuses. It does not say why."""
    answer = store.write(changes(*writes, **fields))
    assert isinstance(answer, Written) or answer == Refused(reason=None)
    return isinstance(answer, Refused)


def insert(store: Persistence, *records: Record) -> None:
    """Inserts rows of any kinds, in their order."""
    written(store, *(Insert(rows=tuple(rows)) for _, rows in groupby(records, key=type)), run_id=_run_of(records[0]))


def _run_of(record: Record) -> str:
    match record:
        case RunRecord():
            return record.id
        case KeyRecord():
            return "r"
        case _:
            return record.workflow_run_id


def append_events(store: Persistence, count: int = 1, run_id: str = "r", *, seconds: float = 0) -> None:
    """Emits events of a run whose row exists."""
    events = tuple(an_event(run_id) for _ in range(count))
    written(store, run_id=run_id, seconds=seconds, run=RunUpdate(ids=(run_id,)), events=events, causation_id="cause")


def set_run(store: Persistence, run_id: str = "r", **columns: Any) -> None:
    update: Any = columns
    written(store, run_id=run_id, run=RunUpdate(ids=(run_id,), set=update))


def set_stage(store: Persistence, stage_id: str = "a", run_id: str = "r", **columns: Any) -> None:
    update: Any = columns
    written(store, StageUpdate(ids=(f"{run_id}.{stage_id}",), set=update), run_id=run_id)


def set_job(store: Persistence, stage_id: str = "a", run_id: str = "r", **columns: Any) -> None:
    update: Any = columns
    written(store, JobUpdate(ids=(f"{run_id}.{stage_id}.job",), set=update), run_id=run_id)


def begun(
    *stage_ids: str,
    run_id: str = "r",
    key: KeyRecord | None = None,
    annotations: tuple[AnnotationRecord, ...] = (),
) -> Changes:
    """Creates a RUNNING run with its first group: a PENDING stage and a due job each."""
    run = a_run(run_id, group_no=1, group_open=len(stage_ids))
    return Changes(
        run_id=run_id,
        at=AT,
        run=Insert(rows=(run,)),
        writes=(
            *((Insert(rows=(key,)),) if key else ()),
            *opened(1, *stage_ids, run_id=run_id),
            *((Insert(rows=annotations),) if annotations else ()),
        ),
        events=(an_event(run_id),),
        causation_id=key.key if key else None,
    )


def opened(group_no: int, *stage_ids: str, run_id: str = "r") -> tuple[Write, ...]:
    """The rows of a group: a PENDING stage and a job that is due from now on, each."""
    stages = tuple(
        a_stage(stage_id, run_id, execution_group=group_no, stage_number=10 * group_no + place)
        for place, stage_id in enumerate(stage_ids)
    )
    jobs = tuple(a_job(stage_id, run_id) for stage_id in stage_ids)
    return (Insert(rows=stages), Insert(rows=jobs, from_now={"due_at": 0.0, "rank": -300.0}))


def completes(
    stage_id: str = "a",
    token: str = "t",
    run_id: str = "r",
    *,
    run: RunUpdate | None = None,
    more: tuple[Write, ...] = (),
) -> Changes:
    """The holder of the job completes its stage. `run` replaces the update of the run, `more` is written along."""
    stage: StagePatch = {
        "status": StageStatus.COMPLETED,
        "output_data": inline(f"out of {stage_id}"),
        "completed_at": at(2),
    }
    job: JobPatch = {"status": JobStatus.COMPLETED}
    event = StageCompleted(**names(stage_id, run_id), duration_ms=1000)
    return _finish(event, token, stage, job, run=run, more=more)


def fails(stage_id: str = "a", token: str = "t", run_id: str = "r", *, retry_in: float | None = None) -> Changes:
    """The stage fails: for good, or with a retry."""
    error, has_retry = f"{stage_id} broke", retry_in is not None
    stage: StagePatch = {"status": StageStatus.FAILED, "error_code": "BROKEN", "error_message": error}
    job: JobPatch = {"status": JobStatus.FAILED, "last_error": error}
    if retry_in is not None:
        due: JobPatch = {"due_at": FromNow(retry_in), "rank": FromNow(retry_in - 300), "worker_id": None}
        job = {**job, **due, "status": JobStatus.PENDING}
    event = StageFailed(**names(stage_id, run_id), error=error, error_code="BROKEN", will_retry=has_retry)
    return _finish(event, token, stage, job)


def suspends(stage_id: str = "a", token: str = "t", run_id: str = "r") -> Changes:
    stage: StagePatch = {
        "status": StageStatus.SUSPENDED,
        "suspended_state": {"batch": 7},
        "next_poll_at": at(60),
    }
    event = StageSuspended(**names(stage_id, run_id), next_poll_at=at(60))
    return _finish(event, token, stage, {"status": JobStatus.SUSPENDED})


def _finish(
    event: StageEvent,
    token: str,
    stage: StagePatch,
    job: JobPatch,
    *,
    run: RunUpdate | None = None,
    more: tuple[Write, ...] = (),
) -> Changes:
    """Ends the attempt of the event's stage that is held under the token."""
    run_id, stage_record_id = event.workflow_run_id, f"{event.workflow_run_id}.{event.stage_id}"
    left: JobPatch = {**job, "lease_until": None}
    held: Condition = {"status": JobStatus.RUNNING, "lease_token": token}
    return Changes(
        run_id=run_id,
        at=at(2),
        run=run or RunUpdate(ids=(run_id,), expect={"status": RunStatus.RUNNING}),
        writes=(
            StageUpdate(ids=(stage_record_id,), set=stage, add=VERSION, expect={"status": StageStatus.RUNNING}),
            JobUpdate(ids=(f"{stage_record_id}.job",), set=left, expect=held),
            *more,
        ),
        events=(event,),
    )


def releases_lease(
    stage_id: str = "a", token: str = "t", run_id: str = "r", *, expect: Condition | None = None
) -> Changes:
    """The job and its stage are PENDING again, and nobody holds the token any more."""
    job: JobPatch = {
        "status": JobStatus.PENDING,
        "due_at": FromNow(),
        "rank": FromNow(-300),
        "worker_id": None,
        "lease_token": None,
        "lease_until": None,
    }
    return Changes(
        run_id=run_id,
        at=at(3),
        run=RunUpdate(ids=(run_id,), expect={"status": RunStatus.RUNNING}),
        writes=(
            StageUpdate(ids=(f"{run_id}.{stage_id}",), set={"status": StageStatus.PENDING}, add=VERSION),
            JobUpdate(ids=(f"{run_id}.{stage_id}.job",), set=job, expect={"lease_token": token, **(expect or {})}),
        ),
    )


def cancels(*stage_ids: str, run_id: str = "r") -> Changes:
    """Cancels the run, with those of its stages and their jobs that are named."""
    stages = tuple(f"{run_id}.{stage_id}" for stage_id in stage_ids)
    jobs = tuple(f"{stage}.job" for stage in stages)
    event = WorkflowCancelled(timestamp=AT, workflow_run_id=run_id, workflow_id="w")
    return Changes(
        run_id=run_id,
        at=at(4),
        run=RunUpdate(
            ids=(run_id,),
            set={"status": RunStatus.CANCELLED, "completed_at": at(4), "group_open": 0},
            add=VERSION,
            expect={"status": frozenset({RunStatus.PENDING, RunStatus.RUNNING})},
        ),
        writes=(
            StageUpdate(ids=stages, set={"status": StageStatus.CANCELLED}, add=VERSION),
            JobUpdate(ids=jobs, set={"status": JobStatus.CANCELLED}),
        )
        if stage_ids
        else (),
        events=(event,),
    )
