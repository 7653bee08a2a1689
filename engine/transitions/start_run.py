"""The start of a run: creation, start, rerun, and annotations from outside."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from engine.definition.workflow import Workflow
from engine.domain.events import Event, WorkflowCreated, WorkflowStarted
from engine.domain.lifecycle import OPEN_JOBS, JobStatus, RunStatus
from engine.domain.records import JobRecord, KeyRecord, RunRecord, StageRecord
from engine.domain.values import StoredValue
from engine.ports.changes import Changes, Delete, Insert, JobUpdate, Reason, Record, Refused, RunPatch, RunUpdate, Write
from engine.transitions.annotations import KnownAnnotations, without_repeats
from engine.transitions.context import DecisionContext
from engine.transitions.facts import AnnotationDraft
from engine.transitions.moves import move_run
from engine.transitions.open_group import Opening, open_group
from engine.transitions.snapshots import RunSnapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCreation:
    """A new run, PENDING, or RUNNING to start it at once; with its idempotency key and annotations."""

    run: RunRecord
    key: KeyRecord | None = None
    annotations: tuple[AnnotationDraft, ...] = ()


def create_run(creation: RunCreation, workflow: Workflow[Any, Any], context: DecisionContext) -> Changes:
    run, drafts = creation.run, creation.annotations and without_repeats(creation.annotations)
    annotated = tuple(draft.event for draft in drafts if draft.event is not None)
    events: tuple[Event, ...] = (*annotated, WorkflowCreated.of(run, context.at))
    opening: Opening | None = None
    if run.status is RunStatus.RUNNING:
        opening = open_group(workflow, run, 1, context)
        events = (*events, WorkflowStarted.of(run, context.at))
        run = replace(run, group_no=opening.group_no, group_open=opening.open)
    records = tuple(draft.record for draft in drafts)
    return Changes(
        run_id=run.id,
        at=context.at,
        run=Insert(rows=(run,)),
        writes=(
            *((Insert(rows=(creation.key,)),) if creation.key else ()),
            *(opening.writes if opening else ()),
            *((Insert(rows=records),) if records else ()),
        ),
        events=events,
        causation_id=creation.key.key if creation.key else None,
    )


def start_run(
    run: RunRecord,
    workflow: Workflow[Any, Any],
    context: DecisionContext,
    *,
    whole: RunSnapshot | None = None,
    first: Changes | None = None,
) -> Changes | Refused:
    """Starts a PENDING run with its first group. Stage records that exist already, in `whole`, are kept.

    `first`: an earlier decision, which the store refused. If its jobs exist, it was written and its answer was lost.
    """
    if whole and first and {job.id for job in first.inserted(JobRecord)} & {job.id for job in whole.jobs}:
        return Refused(Reason.REPEAT)
    if run.status is not RunStatus.PENDING:
        return Refused(Reason.GHOST)
    opening = open_group(workflow, run, 1, context, whole=whole)
    patch: RunPatch = {"started_at": context.at, "group_no": opening.group_no, "group_open": opening.open}
    return Changes(
        run_id=run.id,
        at=context.at,
        run=move_run(run, RunStatus.RUNNING, patch),
        writes=opening.writes,
        events=(WorkflowStarted.of(run, context.at), *opening.events),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerun:
    """A rerun from the group of `from_stage_id`. `input_data` replaces the input of that stage."""

    from_stage_id: str
    group_no: int
    input_data: StoredValue | None = None
    key: KeyRecord | None = None


def removed_by(snapshot: RunSnapshot, group_no: int) -> list[StageRecord]:
    """The stage records that a rerun from that group replaces."""
    return [stage for stage in snapshot.stages if stage.execution_group >= group_no]


def next_generation(removed: list[StageRecord]) -> int:
    return max((stage.generation for stage in removed), default=-1) + 1


def rerun(
    snapshot: RunSnapshot, fact: Rerun, workflow: Workflow[Any, Any], context: DecisionContext
) -> Changes | Refused:
    """Replaces stages by new records of the next generation, and cancels open jobs of the old ones."""
    run = snapshot.run
    if run.status not in {RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED}:
        return Refused(Reason.GHOST)
    removed = removed_by(snapshot, fact.group_no)
    opening = open_group(workflow, run, fact.group_no, context, generation=next_generation(removed))
    patch: RunPatch = {
        "output": None,
        "started_at": context.at,
        "completed_at": None,
        "duration_ms": None,
        "failure_code": None,
        "failure_message": None,
        "group_no": opening.group_no,
        "group_open": opening.open,
    }
    event = WorkflowStarted.of(run, context.at, from_stage_id=fact.from_stage_id)
    return Changes(
        run_id=run.id,
        at=context.at,
        run=move_run(run, RunStatus.RUNNING, patch, expect={"version": run.version}),
        writes=(
            *((Insert(rows=(fact.key,)),) if fact.key else ()),
            *_replaced(snapshot, removed),
            *_with_input(opening.writes, fact),
        ),
        events=(event,),
        causation_id=fact.key.key if fact.key else None,
    )


def _replaced(snapshot: RunSnapshot, removed: list[StageRecord]) -> tuple[Write, ...]:
    ids = tuple(stage.id for stage in removed)
    orphaned = tuple(job.id for job in snapshot.jobs if job.stage_record_id in ids and job.status in OPEN_JOBS)
    cancelled = (JobUpdate(ids=orphaned, set={"status": JobStatus.CANCELLED}),) if orphaned else ()
    return (*((Delete(record=StageRecord, ids=ids),) if ids else ()), *cancelled)


def _with_input(writes: tuple[Write, ...], fact: Rerun) -> tuple[Write, ...]:
    if fact.input_data is None:
        return writes

    def overridden(row: Record) -> Record:
        if not isinstance(row, StageRecord) or row.stage_id != fact.from_stage_id:
            return row
        return replace(row, input_data=fact.input_data)

    return tuple(
        replace(write, rows=tuple(overridden(row) for row in write.rows)) if isinstance(write, Insert) else write
        for write in writes
    )


def attach(
    run: RunRecord, drafts: tuple[AnnotationDraft, ...], known: KnownAnnotations, at: datetime
) -> Changes | Refused:
    """Annotations from outside. Those whose (key, idempotency key) is `known` are dropped with their events."""
    new = without_repeats(drafts, known)
    if not new:
        return Refused(Reason.REPEAT)
    events = tuple(draft.event for draft in new if draft.event is not None)
    return Changes(
        run_id=run.id,
        at=at,
        run=RunUpdate(ids=(run.id,)) if events else None,
        writes=(Insert(rows=tuple(draft.record for draft in new), skip_existing=True),),
        events=events,
    )
