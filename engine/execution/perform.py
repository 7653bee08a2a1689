"""Runs the body of one claimed stage. No transaction is open, and nothing is committed."""

import json
import mimetypes
import signal
import threading
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from engine.definition.context import StageContext
from engine.definition.results import Suspended as SuspendedByBody
from engine.definition.results import SuspendedState
from engine.definition.stage import Stage
from engine.definition.workflow import Workflow
from engine.domain.blob_keys import artifact_name, claim_prefix
from engine.domain.errors import EngineError, InvalidStageData, StoreUnavailable
from engine.domain.records import ArtifactRecord, LogLevel
from engine.domain.values import Json, StoredValue, by_stage, checked, plain
from engine.execution.attempt import Attempt
from engine.execution.outputs import RunOutputs
from engine.execution.storage import RunStorage
from engine.execution.tracing import stage_span
from engine.ports.blob_store import BlobInfo, load_value
from engine.ports.deps import Deps
from engine.ports.executor import Activity
from engine.ports.persistence import Claim
from engine.transitions.facts import Completed, Failed, Outcome, Suspended

MOST_MESSAGE, MOST_TRACE = 4_000, 32_000
"""Characters. A message is stored with stage, job, run, event and log, and shown on one line."""


@dataclass(frozen=True, slots=True)
class _Body:
    """An attempt with its workflow and stage definitions."""

    attempt: Attempt
    workflow: Workflow[Any, Any]
    stage: Stage[Any, Any, Any]
    deps: Deps

    @property
    def prefix(self) -> str:
        claim = self.attempt.claim
        return claim_prefix(claim.run, claim.stage, self.attempt.token)


def perform(attempt: Attempt, deps: Deps) -> Outcome:
    """Runs the body and returns its outcome. An error of the body is an outcome too.

    Raises `StoreUnavailable`, and the error of code that cannot be loaded.
    """
    claim = attempt.claim
    workflow = deps.registry.get_workflow(claim.run.workflow_id)
    if workflow is None:
        return Failed(
            code="WORKFLOW_NOT_FOUND", message=f"UnknownWorkflow: workflow {claim.run.workflow_id!r} is not registered"
        )
    stage = workflow.get_stage(claim.stage.stage_id)
    if stage is None:
        return Failed(
            code="WORKFLOW_CHANGED",
            message=f"WorkflowChanged: workflow {workflow.id!r} no longer has the stage {claim.stage.stage_id!r}",
        )
    body = _Body(attempt, workflow, stage, deps)
    _warn_of_new_code(body)
    try:
        with stage_span(claim):
            return _outcome(body, deps.executor.run(_activity(body)))
    except StoreUnavailable:
        raise
    except BaseException as error:  # a stage body may raise anything; it is recorded
        if is_ctrl_c(error):
            raise
        return failure(error, body.stage, attempt, deps)


def is_ctrl_c(error: BaseException) -> bool:
    """True for Ctrl-C in this process; False for a KeyboardInterrupt that a body raised in a thread."""
    if not isinstance(error, KeyboardInterrupt) or threading.current_thread() is not threading.main_thread():
        return False
    return signal.getsignal(signal.SIGINT) is signal.default_int_handler


def failure(error: BaseException, stage: Stage[Any, Any, Any], attempt: Attempt, deps: Deps) -> Failed:
    """The outcome of an exception in or around a body, with a retry if the stage's policy allows one."""
    job = attempt.claim.job
    again = job.attempt < job.max_attempts and stage.retry.allows(error)
    delay = stage.retry.delay(job.attempt, deps.ids.random()) if again else None
    return replace(failed_by(error), retry_in=delay)


def failed_by(error: BaseException) -> Failed:
    """A failure without retry. Type, message and trace of the error are made storable, and shortened."""
    formatted = traceback.TracebackException.from_exception(error)  # safe even if the error's __str__ raises
    return Failed(
        code=error.code if isinstance(error, EngineError) else "STAGE_FAILED",
        message=_shortened(plain(f"{type(error).__name__}: {formatted}"), MOST_MESSAGE),
        trace=_shortened(plain("".join(formatted.format())), MOST_TRACE),
    )


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text):,} characters)"


def _warn_of_new_code(body: _Body) -> None:
    run = body.attempt.claim.run
    if run.definition_hash != body.workflow.definition_hash:
        body.attempt.recorder.log(
            LogLevel.WARN,
            f"workflow {run.workflow_id!r} has changed since this run began; continuing with the new definition",
            {"began_with": run.definition_hash, "continues_with": body.workflow.definition_hash},
        )


def _activity(body: _Body) -> Activity:
    claim, stage, deps = body.attempt.claim, body.stage, body.deps
    timeout = deps.timeout_of(stage)
    state = claim.stage.suspended_state
    context: StageContext[Any, Any] = StageContext(
        input=stage.validate_input(_input(body)),
        config=stage.validate_config(claim.stage.config),
        workflow_run_id=claim.run.id,
        workflow_id=claim.run.workflow_id,
        stage_id=stage.id,
        stage_name=stage.name,
        stage_number=claim.stage.stage_number,
        stage_record_id=claim.stage.id,
        generation=claim.stage.generation,
        attempt=claim.job.attempt,
        resume_state=SuspendedState.model_validate(state) if state else None,
        outputs=RunOutputs(claim, persistence=deps.persistence, blob_store=deps.blob_store),
        recorder=body.attempt.recorder,
        storage=RunStorage(claim.run, claim.stage, deps.blob_store),
        ai=deps.ai_for(f"workflow.{claim.run.id}.stage.{stage.id}", body.attempt.recorder),
        cancellation=body.attempt.cancellation,
        deadline=deps.clock.now() + timedelta(seconds=timeout) if timeout else None,
    )
    return Activity(stage=stage, context=context, timeout=timeout)


def _input(body: _Body) -> Json:
    claim, blob_store = body.attempt.claim, body.deps.blob_store
    if body.stage.takes_no_input:
        return None
    if claim.stage.input_data is not None:
        return load_value(claim.stage.input_data, blob_store)
    if claim.stage.execution_group == 1:
        return load_value(claim.run.input, blob_store)
    expected = {stage.id for stage in body.workflow.group(claim.stage.execution_group - 1)}
    missing = sorted(expected - set(claim.previous))
    if missing:
        raise InvalidStageData(
            f"stage {body.stage.id!r} has no input: the output of {', '.join(map(repr, missing))} is missing"
        )
    return load_value(_output_of_previous_group(body.workflow, claim), blob_store)


def _output_of_previous_group(workflow: Workflow[Any, Any], claim: Claim) -> StoredValue:
    """The single stage's output, or an object keyed by stage id in the order of the pipeline."""
    if len(claim.previous) == 1:
        return next(iter(claim.previous.values()))
    group = workflow.group(claim.stage.execution_group - 1)
    return by_stage({stage.id: claim.previous[stage.id] for stage in group})


def _outcome(body: _Body, returned: object) -> Outcome:
    result = body.stage.outcome(returned)
    if isinstance(result, SuspendedByBody):
        return _suspended(body, result)
    output = body.deps.store_value(
        body.stage.validate_output(result.output),
        f"{body.prefix}/output.json",
    )
    artifacts = tuple(_artifact(body, name, content) for name, content in result.artifacts.items())
    return Completed(output=output, metrics=checked(result.custom_metrics, "custom_metrics"), artifacts=artifacts)


def _suspended(body: _Body, suspended: SuspendedByBody) -> Outcome:
    now = body.deps.clock.now()
    state = suspended.state(now)
    return Suspended(
        state=state.model_dump(mode="json"),
        next_poll_at=min(suspended.first_poll(now), state.deadline),
        poll_interval_s=state.poll_interval,
        max_wait_until=state.deadline,
        metrics=checked(suspended.custom_metrics, "custom_metrics"),
    )


def _artifact(body: _Body, name: str, content: object) -> ArtifactRecord:
    claim = body.attempt.claim
    checked(name, "artifact name")
    info = _write_artifact(body, f"{body.prefix}/artifacts/{artifact_name(name)}", name, content)
    return ArtifactRecord(
        id=body.deps.ids.new(),
        workflow_run_id=claim.run.id,
        stage_record_id=claim.stage.id,
        stage_id=claim.stage.stage_id,
        name=name,
        blob_key=info.key,
        size=info.size,
        content_type=info.content_type,
        sha256=info.sha256,
        created_at=body.deps.clock.now(),
    )


def _write_artifact(body: _Body, key: str, name: str, content: object) -> BlobInfo:
    guessed = mimetypes.guess_type(name)[0]
    match content:
        case Path():
            return body.deps.blob_store.put_file(key, content, content_type=guessed or "application/octet-stream")
        case bytes():
            return body.deps.blob_store.put_bytes(key, content, content_type=guessed or "application/octet-stream")
        case str():
            return body.deps.blob_store.put_bytes(
                key, content.encode(), content_type=guessed or "text/plain; charset=utf-8"
            )
        case Mapping() | list() | int() | float() | None:
            text = json.dumps(checked(content, f"artifact {name!r}"), ensure_ascii=False, indent=2)
            return body.deps.blob_store.put_bytes(key, text.encode(), content_type="application/json")
        case _:
            raise InvalidStageData(
                f"artifact {name!r} is a {type(content).__name__}; give text, bytes, a pathlib.Path or JSON"
            )
