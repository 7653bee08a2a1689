from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from engine.definition.workflow import Workflow
from engine.domain.ai_calls import Spent
from engine.domain.errors import (
    InvalidInput,
    InvalidStageData,
    NotFound,
    RerunRefused,
    StaleVersionError,
    UnknownStage,
)
from engine.domain.events import WorkflowStarted
from engine.domain.json_values import checked
from engine.domain.lifecycle import Status
from engine.domain.records import RunRecord, StageRecord
from engine.domain.stored_value import StoredValue
from engine.kernel.commands import RunRerunFrom, RunRerunFromResult
from engine.kernel.deps import Deps
from engine.kernel.idempotency import NO_TENANT, check_same_request, done_key
from engine.kernel.notifying import SAFETY_WAKE, schedule_wakeup
from engine.kernel.outputs import generation_prefix, run_prefix, store_value
from engine.kernel.steps.diagnose import Snapshot
from engine.kernel.steps.open_group import DecisionContext, notifications_of, open_group
from engine.kernel.tracing import current_trace
from engine.kernel.transitions import read_snapshot
from engine.kernel.workflows import find_workflow
from engine.ports.write_set import Applied, OpenGroup, Verdict, WriteSet

FINISHED = frozenset({Status.COMPLETED, Status.FAILED})
RESET: dict[str, Any] = {
    "status": Status.RUNNING,
    "output": None,
    "completed_at": None,
    "duration_ms": None,
    "failure_code": None,
    "failure_message": None,
}


@dataclass(frozen=True, slots=True)
class _Rerun:
    command: RunRerunFrom
    run: RunRecord
    group: OpenGroup
    removed: list[StageRecord]
    at: datetime


def handle(command: RunRerunFrom, deps: Deps) -> RunRerunFromResult:
    snapshot = read_snapshot(command.workflow_run_id, deps.persistence)
    if snapshot is None:
        raise NotFound("run", command.workflow_run_id)
    replayed = _replay(command, snapshot.run, deps)
    if replayed is not None:
        return replayed
    workflow = find_workflow(snapshot.run.workflow_id, deps.registry)
    group_no = _target_group(command, snapshot, workflow)
    removed = [stage for stage in snapshot.stages if stage.execution_group >= group_no]
    spent = {stage.stage_id: Spent(stage.total_cost, stage.total_tokens) for stage in removed}
    now = DecisionContext.of(deps.clock, deps.ids, trace=current_trace() or snapshot.trace, spent=spent)
    generation = max((stage.generation for stage in removed), default=-1) + 1
    group = open_group(workflow, snapshot.run, group_no, now, generation=generation)
    group = _with_override(command, group, workflow, snapshot.run, deps)
    return _commit(_Rerun(command, snapshot.run, group, removed, now.at), deps)


def _replay(command: RunRerunFrom, run: RunRecord, deps: Deps) -> RunRerunFromResult | None:
    """The first answer, when the key is done: by now the run may be in a state that no new rerun could start from."""
    key = command.idempotency_key
    if key is None:
        return None
    found = deps.persistence.read(lambda tx: tx.keys.find(run.tenant or NO_TENANT, command.type, key))
    if found is None:
        return None
    check_same_request(found, command)
    return RunRerunFromResult.model_validate(found.result)


def _target_group(command: RunRerunFrom, snapshot: Snapshot, workflow: Workflow[Any, Any]) -> int:
    run, stage_id = snapshot.run, command.from_stage_id
    if run.status not in FINISHED:
        raise RerunRefused(f"run {run.id!r} is {run.status}; only a COMPLETED or FAILED run can be run again")
    if not workflow.has_stage(stage_id):
        known = ", ".join(workflow.get_stage_ids())
        raise UnknownStage(f"workflow {workflow.id!r} has no stage {stage_id!r}; it has: {known}")
    group_no = workflow.get_execution_group_index(stage_id)
    done = {stage.stage_id for stage in snapshot.stages if stage.status is Status.COMPLETED}
    earlier = [stage.id for no in range(1, group_no) for stage in workflow.group(no)]
    missing = [stage_id for stage_id in earlier if stage_id not in done]
    if missing:
        raise RerunRefused(
            f"run {run.id!r} cannot start again at {stage_id!r}: {', '.join(missing)} did not complete; "
            f"start at {missing[0]!r}"
        )
    return group_no


def _with_override(
    command: RunRerunFrom, group: OpenGroup, workflow: Workflow[Any, Any], run: RunRecord, deps: Deps
) -> OpenGroup:
    if command.input_override is None:
        return group
    stage = next(stage for stage in workflow.get_all_stages() if stage.id == command.from_stage_id)
    value = checked(command.input_override, "input_override")
    try:
        stage.validate_input(value)
    except InvalidStageData as error:
        raise InvalidInput(f"input_override: {error}") from error

    def overridden(record: StageRecord) -> StageRecord:
        if record.stage_id != stage.id:
            return record
        key = f"{run_prefix(run)}/{stage.id}/{record.generation}/input.json"
        stored: StoredValue = store_value(value, key, deps.blob_store, deps.inline_max)
        return replace(record, input_data=stored)

    return replace(group, stages=tuple(overridden(record) for record in group.stages))


def _commit(rerun: _Rerun, deps: Deps) -> RunRerunFromResult:
    command, run = rerun.command, rerun.run
    result = RunRerunFromResult(
        workflow_run_id=run.id,
        from_stage_id=command.from_stage_id,
        deleted_stages=tuple(stage.stage_id for stage in rerun.removed),
    )
    schedule_wakeup(run.id, rerun.at + SAFETY_WAKE, deps)
    applied = deps.persistence.apply(_write_set(rerun, result, deps))
    if applied.verdict is Verdict.KEY_EXISTS and applied.key is not None:
        check_same_request(applied.key, command)
        return RunRerunFromResult.model_validate(applied.key.result)
    _check(applied, run)
    deps.job_transport.notify(notifications_of(rerun.group.jobs, run))
    for stage in rerun.removed:
        deps.blob_store.delete_prefix(generation_prefix(run, stage))
    return result


def _write_set(rerun: _Rerun, result: RunRerunFromResult, deps: Deps) -> WriteSet:
    command, run, key = rerun.command, rerun.run, rerun.command.idempotency_key
    event = WorkflowStarted(
        timestamp=rerun.at,
        workflow_run_id=run.id,
        workflow_id=run.workflow_id,
        from_stage_id=command.from_stage_id,
    )
    return WriteSet(
        run_id=run.id,
        at=rerun.at,
        key=done_key(command, key, result, deps, run.tenant) if key else None,
        run_in=FINISHED,
        expected_version=run.version,
        run={**RESET, "started_at": rerun.at},
        removes=tuple(stage.id for stage in rerun.removed),
        opens=rerun.group,
        events=(event,),
        causation_id=key,
    )


def _check(applied: Applied, run: RunRecord) -> None:
    if applied.verdict is Verdict.APPLIED:
        return
    if applied.verdict is Verdict.STALE:
        raise StaleVersionError("run", run.id, run.version, applied.run_version)
    raise RerunRefused(f"run {run.id!r} is {applied.run_status} by now; only a finished run can be run again")
