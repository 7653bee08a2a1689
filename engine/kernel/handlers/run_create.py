from dataclasses import replace
from typing import Any

from engine.definition.workflow import Workflow
from engine.domain.errors import InvalidInput
from engine.domain.events import WorkflowCreated, WorkflowStarted
from engine.domain.json_values import checked
from engine.domain.lifecycle import Status
from engine.domain.records import KeyRecord, RunRecord
from engine.domain.stored_value import Json, blob_keys
from engine.kernel.annotation_rows import annotation_drafts
from engine.kernel.annotations import blank_run_annotation
from engine.kernel.commands import RunCreate, RunCreateResult
from engine.kernel.deps import Deps
from engine.kernel.idempotency import check_same_request, done_key
from engine.kernel.notifying import SAFETY_WAKE, schedule_wakeup
from engine.kernel.outputs import run_prefix, store_value
from engine.kernel.steps.open_group import DecisionContext, notifications_of, open_group
from engine.kernel.tracing import current_trace
from engine.kernel.workflows import find_workflow
from engine.ports.write_set import AnnotationDraft, Verdict, WriteSet


def handle(command: RunCreate, deps: Deps) -> RunCreateResult:
    workflow = find_workflow(command.workflow_id, deps.registry)
    value, config = _validated(command, workflow)
    run = _record(command, workflow, config, deps)
    run = replace(run, input=store_value(value, f"{run_prefix(run)}/input.json", deps.blob_store, deps.inline_max))
    result = RunCreateResult(workflow_run_id=run.id, status=run.status)
    write_set = _write_set(command, workflow, run, result, deps)
    schedule_wakeup(run.id, run.created_at + SAFETY_WAKE, deps)
    applied = deps.persistence.apply(write_set)
    if applied.verdict is Verdict.KEY_EXISTS and applied.key is not None:
        return _replay(command, applied.key, run, deps)
    if write_set.opens is not None:
        deps.job_transport.notify(notifications_of(write_set.opens.jobs, run))
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
        status=Status.RUNNING if command.start else Status.PENDING,
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


def _write_set(
    command: RunCreate, workflow: Workflow[Any, Any], run: RunRecord, result: RunCreateResult, deps: Deps
) -> WriteSet:
    names: dict[str, Any] = {"timestamp": run.created_at, "workflow_run_id": run.id, "workflow_id": run.workflow_id}
    now = DecisionContext(at=run.created_at, ids=deps.ids, trace=command.trace_context or current_trace())
    key = command.idempotency_key
    return WriteSet(
        run_id=run.id,
        at=now.at,
        key=done_key(command, key, result, deps, command.tenant) if key else None,
        create=run,
        opens=open_group(workflow, run, 1, now) if command.start else None,
        annotations=_annotations(command, run, deps),
        events=(WorkflowCreated(**names), *([WorkflowStarted(**names)] if command.start else [])),
        causation_id=key,
    )


def _annotations(command: RunCreate, run: RunRecord, deps: Deps) -> tuple[AnnotationDraft, ...]:
    blank = blank_run_annotation(run.id, run.created_at)
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
            blank,
            workflow_id=run.workflow_id,
            new_id=deps.ids.new,
        )
    )


def _replay(command: RunCreate, found: KeyRecord, unused: RunRecord, deps: Deps) -> RunCreateResult:
    """The first call's answer; its run's notifications ring again, in case they were lost."""
    for blob_key in blob_keys(unused.input):
        deps.blob_store.delete(blob_key)
    check_same_request(found, command)
    result = RunCreateResult.model_validate(found.result)
    schedule_wakeup(result.workflow_run_id, deps.clock.now(), deps)
    return result
