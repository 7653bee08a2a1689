from dataclasses import replace
from typing import Any

from engine.definition.workflow import Workflow
from engine.domain.blob_keys import run_prefix
from engine.domain.errors import InvalidInput
from engine.domain.lifecycle import RunStatus
from engine.domain.records import JobRecord, KeyRecord, RunRecord
from engine.domain.values import Json, blob_keys, checked
from engine.execution.tracing import current_trace
from engine.kernel.annotations import blank_run_annotation
from engine.kernel.commands import RunCreate, RunCreateResult
from engine.kernel.idempotency import check_same_request, done_key
from engine.kernel.notifying import SAFETY_WAKE, notifications, schedule_wakeup
from engine.ports.changes import Refused
from engine.ports.deps import Deps
from engine.ports.registry import find_workflow
from engine.transitions.annotations import annotation_drafts
from engine.transitions.context import DecisionContext
from engine.transitions.facts import AnnotationDraft
from engine.transitions.start_run import RunCreation, create_run


def handle(command: RunCreate, deps: Deps) -> RunCreateResult:
    workflow = find_workflow(command.workflow_id, deps.registry)
    value, config = _validated(command, workflow)
    run = _record(command, workflow, config, deps)
    annotations = _annotations(command, run, deps)  # checked before anything is stored
    run = replace(run, input=deps.store_value(value, f"{run_prefix(run)}/input.json"))
    result = RunCreateResult(workflow_run_id=run.id, status=run.status)
    creation = RunCreation(run=run, key=_key(command, result, deps), annotations=annotations)
    trace = command.trace_context or current_trace()
    changes = create_run(creation, workflow, DecisionContext(at=run.created_at, ids=deps.ids, trace=trace))
    schedule_wakeup(run.id, run.created_at + SAFETY_WAKE, deps)
    if isinstance(deps.persistence.write(changes), Refused):
        return _replay(creation, command, result, deps)
    deps.job_transport.notify(notifications(changes.inserted(JobRecord), run))
    return result


def _validated(command: RunCreate, workflow: Workflow[Any, Any]) -> tuple[Json, dict[str, Any]]:
    """Input and merged config as JSON. Raises `InvalidInput` with the problems of both."""
    problems: list[str] = []
    value: Json = None
    config: dict[str, Any] = {}
    try:
        value = checked(workflow.validate_input(command.input), "input")
    except InvalidInput as error:
        problems += _as_problems(error, "input")
    try:
        config = checked(workflow.validate_config(command.config), "config")
    except InvalidInput as error:
        problems += _as_problems(error, "config")
    if problems:
        raise InvalidInput(f"workflow {workflow.id!r} cannot start with this", problems)
    return value, config


def _as_problems(error: InvalidInput, where: str) -> list[str]:
    return [f"{where}: {problem}" for problem in error.problems or (str(error),)]


def _record(command: RunCreate, workflow: Workflow[Any, Any], config: dict[str, Any], deps: Deps) -> RunRecord:
    now = deps.clock.now()
    return RunRecord(
        id=deps.ids.new(),
        workflow_id=workflow.id,
        workflow_name=workflow.name,
        workflow_type=workflow.id,
        definition_hash=workflow.definition_hash,
        status=RunStatus.RUNNING if command.start else RunStatus.PENDING,
        input={},
        config=config,
        tenant=command.tenant,
        priority=command.priority,
        parent_run_id=command.parent_run_id,
        metadata=checked(command.metadata, "metadata"),
        started_at=now if command.start else None,
        created_at=now,
        updated_at=now,
    )


def _key(command: RunCreate, result: RunCreateResult, deps: Deps) -> KeyRecord | None:
    key = command.idempotency_key
    return done_key(command, key, result, deps, command.tenant) if key else None


def _annotations(command: RunCreate, run: RunRecord, deps: Deps) -> tuple[AnnotationDraft, ...]:
    return tuple(
        draft
        for given in command.annotations
        for draft in annotation_drafts(
            given.model_copy(
                update={
                    "attributes": checked(given.attributes, "annotation"),
                    "payload": checked(given.payload, "annotation payload"),
                }
            ),
            blank_run_annotation(run.id, run.created_at),
            workflow_id=run.workflow_id,
            new_id=deps.ids.new,
        )
    )


def _replay(creation: RunCreation, command: RunCreate, result: RunCreateResult, deps: Deps) -> RunCreateResult:
    """The key exists: from an earlier call, or from this write if its answer was lost. Returns the first result.

    A wake-up of that run replaces notifications that were lost.
    """
    key = creation.key
    found = deps.persistence.read(lambda tx: tx.keys.find(key.tenant, key.command_type, key.key)) if key else None
    if found is None:
        return result
    check_same_request(found, command)
    first = RunCreateResult.model_validate(found.result)
    if first.workflow_run_id != creation.run.id:
        for blob_key in blob_keys(creation.run.input):
            deps.blob_store.delete(blob_key)
    schedule_wakeup(first.workflow_run_id, deps.clock.now(), deps)
    return first
