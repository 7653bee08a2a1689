from dataclasses import replace
from typing import Any

from engine.definition.workflow import Workflow
from engine.domain.ai_calls import Spent
from engine.domain.blob_keys import generation_prefix, run_prefix
from engine.domain.errors import (
    InvalidInput,
    InvalidStageData,
    NotFound,
    RerunRefused,
    StaleVersionError,
    UnknownStage,
)
from engine.domain.lifecycle import RunStatus, StageStatus
from engine.domain.records import JobRecord, RunRecord
from engine.domain.values import StoredValue, checked
from engine.execution.tracing import current_trace
from engine.kernel.commands import RunRerunFrom, RunRerunFromResult
from engine.kernel.deciding import decide_run, read_run
from engine.kernel.idempotency import NO_TENANT, check_same_request, done_key
from engine.kernel.notifying import SAFETY_WAKE, notifications, schedule_wakeup
from engine.ports.changes import Changes, Refused
from engine.ports.deps import Deps
from engine.ports.registry import find_workflow
from engine.transitions.context import DecisionContext
from engine.transitions.snapshots import RunSnapshot
from engine.transitions.start_run import Rerun, next_generation, removed_by, rerun

ENDED = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED})


def handle(command: RunRerunFrom, deps: Deps) -> RunRerunFromResult:
    snapshot = read_run(command.workflow_run_id, deps.persistence)
    if snapshot is None:
        raise NotFound("run", command.workflow_run_id)
    replayed = _replay(command, snapshot.run, deps)
    if replayed is not None:
        return replayed
    workflow = find_workflow(snapshot.run.workflow_id, deps.registry)
    fact = _fact(command, snapshot, workflow, deps)
    removed = removed_by(snapshot, fact.group_no)
    spent = {stage.stage_id: Spent(stage.total_cost, stage.total_tokens) for stage in removed}
    trace = current_trace() or snapshot.trace
    context = DecisionContext.of(deps.clock, deps.ids, trace=trace, spent=spent)
    result = RunRerunFromResult(
        workflow_run_id=snapshot.run.id,
        from_stage_id=command.from_stage_id,
        deleted_stages=tuple(stage.stage_id for stage in removed),
    )
    if command.idempotency_key is not None:
        key = done_key(command, command.idempotency_key, result, deps, snapshot.run.tenant)
        fact = replace(fact, key=key)

    def decide(locked: RunSnapshot) -> Changes | Refused:
        same = locked.run.version == snapshot.run.version
        return rerun(locked, fact, workflow, context) if same else Refused()

    schedule_wakeup(snapshot.run.id, context.at + SAFETY_WAKE, deps)
    written = decide_run(snapshot.run.id, decide, deps)
    if isinstance(written, Refused):
        return _refused(command, snapshot.run, deps)
    deps.job_transport.notify(notifications(written.changes.inserted(JobRecord), snapshot.run))
    for stage in removed:
        deps.blob_store.delete_prefix(generation_prefix(snapshot.run, stage))
    return result


def _replay(command: RunRerunFrom, run: RunRecord, deps: Deps) -> RunRerunFromResult | None:
    """The first result, if the key is done. It is checked first: the run may no longer be in a state for a rerun."""
    key = command.idempotency_key
    if key is None:
        return None
    found = deps.persistence.read(lambda tx: tx.keys.find(run.tenant or NO_TENANT, command.type, key))
    if found is None:
        return None
    check_same_request(found, command)
    return RunRerunFromResult.model_validate(found.result)


def _fact(command: RunRerunFrom, snapshot: RunSnapshot, workflow: Workflow[Any, Any], deps: Deps) -> Rerun:
    group_no = _target_group(command, snapshot, workflow)
    generation = next_generation(removed_by(snapshot, group_no))
    input_data = _input_override(command, workflow, snapshot.run, generation, deps)
    return Rerun(from_stage_id=command.from_stage_id, group_no=group_no, input_data=input_data)


def _target_group(command: RunRerunFrom, snapshot: RunSnapshot, workflow: Workflow[Any, Any]) -> int:
    run, stage_id = snapshot.run, command.from_stage_id
    if run.status not in ENDED:
        raise RerunRefused(f"run {run.id!r} is {run.status}; only a run that has ended can be run again")
    if not workflow.has_stage(stage_id):
        known = ", ".join(workflow.get_stage_ids())
        raise UnknownStage(f"workflow {workflow.id!r} has no stage {stage_id!r}; it has: {known}")
    group_no = workflow.get_execution_group_index(stage_id)
    done = {stage.stage_id for stage in snapshot.stages if stage.status is StageStatus.COMPLETED}
    earlier = [stage.id for no in range(1, group_no) for stage in workflow.group(no)]
    missing = [stage_id for stage_id in earlier if stage_id not in done]
    if missing:
        raise RerunRefused(
            f"run {run.id!r} cannot start again at {stage_id!r}: {', '.join(missing)} did not complete; "
            f"start at {missing[0]!r}"
        )
    return group_no


def _input_override(
    command: RunRerunFrom, workflow: Workflow[Any, Any], run: RunRecord, generation: int, deps: Deps
) -> StoredValue | None:
    if command.input_override is None:
        return None
    stage = next(stage for stage in workflow.get_all_stages() if stage.id == command.from_stage_id)
    value = checked(command.input_override, "input_override")
    try:
        stage.validate_input(value)
    except InvalidStageData as error:
        raise InvalidInput(f"input_override: {error}") from error
    key = f"{run_prefix(run)}/{stage.id}/{generation}/input.json"
    return deps.store_value(value, key)


def _refused(command: RunRerunFrom, run: RunRecord, deps: Deps) -> RunRerunFromResult:
    """The run has changed since it was read: by a call with the same key, or by another command."""
    replayed = _replay(command, run, deps)
    if replayed is not None:
        return replayed
    now = deps.persistence.read(lambda tx: tx.runs.get(run.id))
    if now.status in ENDED:
        raise StaleVersionError("run", run.id, run.version, now.version)
    raise RerunRefused(f"run {run.id!r} is now {now.status}; only a run that has ended can be run again")
