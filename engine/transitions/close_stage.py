"""The end of a stage, and what follows from it for its run: the one place that advances, completes and fails runs.

The run's row is where siblings meet. Each stage that ends takes one off `group_open` under that row's lock, so
exactly one of them finds itself the last. Only that one looks at the others, opens the next group or ends the run;
the others need nothing but the knowledge that they are not the last, which is a condition on the row (`AtLeast(2)`),
not a read.

A stage that fails for good marks the run as failing (`failure_code`, while it is still RUNNING), cancels what waits,
and leaves `group_open` at the number of bodies that still run. The last of those ends the run with the first failure.
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
    """What the end of a stage does to its run and to the stages beside and after it."""

    run: RunUpdate
    writes: tuple[Write, ...] = ()
    events: tuple[Event, ...] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """What the next group is opened with: the outputs of this one and, for a worker that goes on with it, a lease."""

    workflow: Workflow[Any, Any] | None
    output: StoredValue
    lease: Lease | None = None


def stage_completed(snapshot: StageSnapshot, following: Following, context: DecisionContext) -> RunEffect:
    run = snapshot.run
    if run.failure_code is not None or not _is_last(run) or following.workflow is None:
        return stage_ended(snapshot, context)
    return advance(run, snapshot.stage, following, context, whole=snapshot.whole, expect=_last_of_group(run))


def stage_ended(snapshot: StageSnapshot, context: DecisionContext) -> RunEffect:
    """One stage less is open, and nothing follows, unless the run was failing and waited for this one."""
    run = snapshot.run
    if _is_last(run) and run.failure_code is not None:
        return _end_failed(snapshot, run.failure_code, run.failure_message or "", context)
    return RunEffect(
        run=RunUpdate(
            ids=(run.id,), add={"group_open": -1}, expect=_last_of_group(run) if _is_last(run) else _one_of(run)
        )
    )


def stage_failed_for_good(snapshot: StageSnapshot, code: str, message: str, context: DecisionContext) -> RunEffect:
    """The first failure of a run is the one it ends with."""
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
    assert workflow is not None, "nothing can follow in a workflow that is not known"
    if group_no >= workflow.group_count:
        return _complete(run, following.output, context, expect)
    opening = open_group(
        workflow, run, group_no + 1, context, generation=last.generation, lease=following.lease, whole=whole
    )
    patch: RunPatch = {"group_no": opening.group_no, "group_open": opening.open}
    update = RunUpdate(ids=(run.id,), set=patch, add=VERSION, expect=expect)
    return RunEffect(run=update, writes=opening.writes, events=opening.events)


def _complete(run: RunRecord, output: StoredValue, context: DecisionContext, expect: Condition) -> RunEffect:
    """The totals are part of the event, so no call may have been recorded since the run was read."""
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
    """The finished stage's output itself, or in a wide group an object of all outputs in the order of the pipeline."""
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
