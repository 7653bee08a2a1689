"""The effect of a stage's end on its run. Only this module advances, completes and fails a run after a stage.

The race: two siblings end at the same moment. If each reads the other as still open, neither advances the run; if each
reads the other as done, both do. The run's row decides: each stage that ends lowers `group_open` by one under the lock
of that row, so exactly one stage is the last. Only the last one reads its siblings, and opens the next group or ends
the run. The others read nothing: the condition `AtLeast(2)` on `group_open` proves that another stage is still open.

A stage that fails for good marks the run as failing (`failure_code`, while the run is RUNNING), cancels the stages and
jobs that wait, and sets `group_open` to the number of bodies that still run. The last of them ends the run with the
first failure.
"""

from dataclasses import dataclass, field
from typing import Any

from engine.definition.workflow import Workflow
from engine.domain.events import Event, WorkflowCompleted, WorkflowFailed
from engine.domain.lifecycle import OPEN_JOBS, OPEN_STAGES, JobStatus, RunStatus, StageStatus
from engine.domain.records import RunRecord, StageRecord
from engine.domain.values import StoredValue, by_stage
from engine.ports.changes import AtLeast, Condition, RunPatch, RunUpdate, Write
from engine.ports.persistence import Lease
from engine.transitions.context import DecisionContext
from engine.transitions.moves import VERSION, cancel_rows, duration_ms, move_run
from engine.transitions.open_group import open_group
from engine.transitions.snapshots import RunSnapshot, StageSnapshot

_WAITING_STAGES = frozenset({StageStatus.PENDING, StageStatus.SUSPENDED})
_WAITING_JOBS = frozenset({JobStatus.PENDING, JobStatus.SUSPENDED})


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEffect:
    """The writes and events for the run, the siblings and the next group."""

    run: RunUpdate
    writes: tuple[Write, ...] = ()
    events: tuple[Event, ...] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """Inputs of the next group: the output of this one and, for a continuation, the lease of its worker."""

    workflow: Workflow[Any, Any] | None
    output: StoredValue
    lease: Lease | None = None


def stage_completed(snapshot: StageSnapshot, following: Following, context: DecisionContext) -> RunEffect:
    run = snapshot.run
    if run.failure_code is not None or not _is_last(run) or following.workflow is None:
        return stage_ended(snapshot, context)
    return advance(run, snapshot.stage, following, context, whole=snapshot.whole, expect=_last_of_group(run))


def stage_ended(snapshot: StageSnapshot, context: DecisionContext) -> RunEffect:
    """Lowers `group_open`; ends a failing run whose last open stage this was."""
    run = snapshot.run
    if _is_last(run) and run.failure_code is not None:
        return _end_failed(snapshot, run.failure_code, run.failure_message or "", context)
    return RunEffect(
        run=RunUpdate(
            ids=(run.id,), add={"group_open": -1}, expect=_last_of_group(run) if _is_last(run) else _one_of(run)
        )
    )


def stage_failed_for_good(snapshot: StageSnapshot, code: str, message: str, context: DecisionContext) -> RunEffect:
    """Marks the run as failing, or fails it if no other body runs. The first failure of the run is kept."""
    run = snapshot.run
    if run.failure_code is not None:
        code, message = run.failure_code, run.failure_message or ""
    still_running = sum(job.status is JobStatus.RUNNING for job in snapshot.other_jobs())
    if not still_running:
        return _end_failed(snapshot, code, message, context)
    patch: RunPatch = {"failure_code": code, "failure_message": message, "group_open": still_running}
    waiting = cancel_rows(
        [stage for stage in snapshot.other_stages() if stage.status in _WAITING_STAGES],
        [job for job in snapshot.other_jobs() if job.status in _WAITING_JOBS],
        context.at,
    )
    return RunEffect(run=RunUpdate(ids=(run.id,), set=patch, add=VERSION, expect=_is_running(run)), writes=waiting)


def advance(
    run: RunRecord,
    last: StageRecord,
    following: Following,
    context: DecisionContext,
    *,
    whole: RunSnapshot | None,
    expect: Condition,
) -> RunEffect:
    """Opens the group after that of `last`, in its generation, or completes the run. Needs a workflow."""
    workflow, group_no = following.workflow, last.execution_group
    assert workflow is not None, "an unknown workflow has no next group"
    if group_no >= workflow.group_count:
        return _complete(run, following.output, context, expect)
    opening = open_group(
        workflow, run, group_no + 1, context, generation=last.generation, lease=following.lease, whole=whole
    )
    patch: RunPatch = {"group_no": opening.group_no, "group_open": opening.open}
    update = RunUpdate(ids=(run.id,), set=patch, add=VERSION, expect=expect)
    return RunEffect(run=update, writes=opening.writes, events=opening.events)


def _complete(run: RunRecord, output: StoredValue, context: DecisionContext, expect: Condition) -> RunEffect:
    """The event contains the totals. A condition refuses the write if a call was recorded after the run was read."""
    totals = {"total_cost": run.total_cost, "total_tokens": run.total_tokens}
    duration = duration_ms(run.started_at, context.at)
    patch: RunPatch = {"output": output, "group_open": 0, "completed_at": context.at, "duration_ms": duration}
    event = WorkflowCompleted.of(run, context.at, duration_ms=duration, output=output, **totals)
    return RunEffect(run=move_run(run, RunStatus.COMPLETED, patch, expect={**expect, **totals}), events=(event,))


def _end_failed(snapshot: StageSnapshot, code: str, message: str, context: DecisionContext) -> RunEffect:
    run = snapshot.run
    patch: RunPatch = {
        "failure_code": code,
        "failure_message": message,
        "group_open": 0,
        "completed_at": context.at,
        "duration_ms": duration_ms(run.started_at, context.at),
    }
    rest = cancel_rows(
        [stage for stage in snapshot.other_stages() if stage.status in OPEN_STAGES],
        [job for job in snapshot.other_jobs() if job.status in OPEN_JOBS],
        context.at,
    )
    expect = _is_running(run) if snapshot.whole else _last_of_group(run)
    return RunEffect(
        run=move_run(run, RunStatus.FAILED, patch, expect=expect),
        writes=rest,
        events=(WorkflowFailed.of(run, context.at, error=message, error_code=code),),
    )


def output_of_group(
    group: list[StageRecord], finished: StageRecord, output: StoredValue, *, is_wide: bool
) -> StoredValue:
    """The finished stage's output, or in a wide group an object of all outputs in the order of the pipeline."""
    if not is_wide:
        return output
    outputs = {stage.stage_id: output if stage.id == finished.id else stage.output_data for stage in group}
    return by_stage({stage_id: value for stage_id, value in outputs.items() if value is not None})


def _is_last(run: RunRecord) -> bool:
    return run.group_open <= 1


def _is_running(run: RunRecord) -> Condition:
    return {"status": RunStatus.RUNNING, "failure_code": run.failure_code}


def _last_of_group(run: RunRecord) -> Condition:
    return {**_is_running(run), "group_no": run.group_no, "group_open": run.group_open}


def _one_of(run: RunRecord) -> Condition:
    return {**_is_running(run), "group_no": run.group_no, "group_open": AtLeast(2)}
