"""Polls one suspended stage: runs its completion check and commits the answer."""

import asyncio
import inspect
import logging
import threading
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import Any

from engine.definition.context import CheckContext
from engine.definition.results import BatchFailed, NotReady, Ready, SuspendedState
from engine.definition.stage import Stage
from engine.domain.blob_keys import claim_prefix
from engine.domain.errors import (
    DefinitionError,
    EngineError,
    InvalidInput,
    InvalidStageData,
    SettingsError,
    StoreBehind,
    StoreError,
    StoreUnavailable,
    UnknownWorkflow,
)
from engine.domain.lifecycle import JobStatus, StageStatus
from engine.domain.records import JobRecord, RunRecord, StageRecord
from engine.domain.values import checked, plain
from engine.execution.perform import failed_by, is_ctrl_c
from engine.execution.recorder import Recorder
from engine.execution.storage import RunStorage
from engine.kernel.commands import StagePollSuspended
from engine.kernel.deciding import decide_stage, earlier_spending
from engine.kernel.notifying import notifications, notify
from engine.ports.changes import Refused, Written
from engine.ports.deps import Deps
from engine.transitions.annotations import needs_known
from engine.transitions.context import DecisionContext
from engine.transitions.facts import Completed, Failed
from engine.transitions.finish_stage import StageFinish, finish_stage, needs_whole_run
from engine.transitions.poll_stage import keep_poll_claim, keep_waiting
from engine.transitions.snapshots import StageSnapshot

logger = logging.getLogger(__name__)

POLL_CLAIM = timedelta(seconds=60)
RENEWAL_SECONDS = 20.0
"""The interval at which the claim is renewed while a check runs. A dead poller holds its stage for one claim."""


class Polled(StrEnum):
    NOT_MINE = "not mine"
    WAITING = "waiting"
    RESUMED = "resumed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class _Poll:
    run: RunRecord
    stage: StageRecord
    job: JobRecord
    token: str
    recorder: Recorder
    deps: Deps


def poll_stage(record_id: str, deps: Deps) -> Polled:
    """Takes the poll claim, so that no other poller checks the stage, runs the check, and commits its answer."""
    poll = _claim(record_id, deps)
    if poll is None:
        _poll_after_other_claim(record_id, deps)
        return Polled.NOT_MINE
    with _renewing(poll):
        answer = _check(poll)
    if answer is None or isinstance(answer, NotReady):
        return _keep_waiting(poll, answer)
    return _end_or_fail(poll, answer)


def _poll_after_other_claim(record_id: str, deps: Deps) -> None:
    """Schedules a poll at the end of another poller's claim: it may be dead, and no other message would follow."""
    stage = deps.persistence.read(lambda tx: tx.stages.find(record_id))
    if stage is None or stage.status is not StageStatus.SUSPENDED:
        return
    if stage.poll_until is not None and stage.poll_until > deps.clock.now():
        deps.scheduler.wake(_poll_command(stage), stage.poll_until)


def _poll_command(stage: StageRecord) -> Mapping[str, Any]:
    command = StagePollSuspended(stage_record_id=stage.id, workflow_run_id=stage.workflow_run_id, max_checks=1)
    return command.model_dump(mode="json")


def _claim(record_id: str, deps: Deps) -> _Poll | None:
    token, now = deps.ids.token(), deps.clock.now()
    stage = deps.persistence.transact(
        lambda tx: tx.stages.claim_poll(record_id, token=token, now=now, until=now + POLL_CLAIM)
    )
    if stage is None:
        return None
    run_id = stage.workflow_run_id
    run, jobs = deps.persistence.read(lambda tx: (tx.runs.find(run_id), tx.jobs.of_run(run_id)))
    job = next((job for job in jobs if job.stage_record_id == stage.id and job.status is JobStatus.SUSPENDED), None)
    if run is None or job is None:
        return None
    return _Poll(run, stage, job, token, _recorder(run, stage, job, deps), deps)


def _recorder(run: RunRecord, stage: StageRecord, job: JobRecord, deps: Deps) -> Recorder:
    return Recorder(stage, run.workflow_id, clock=deps.clock, ids=deps.ids, attempt=job.attempt)


@contextmanager
def _renewing(poll: _Poll) -> Iterator[None]:
    """Renews the claim from a thread of its own. A renewal that comes late is refused: the token is gone by then."""
    ended = threading.Event()
    threading.Thread(target=_renew, args=(poll, ended), name="poll-claim", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _renew(poll: _Poll, ended: threading.Event) -> None:
    deps = poll.deps
    while not ended.wait(RENEWAL_SECONDS):
        context = DecisionContext.of(deps.clock, deps.ids)
        try:
            deps.persistence.write(keep_poll_claim(poll.stage, poll.token, context.at + POLL_CLAIM, context))
        except EngineError:  # tried again; the claim outlasts two failures
            logger.exception("the poll claim of stage %s was not renewed", poll.stage.id)


def _check(poll: _Poll) -> Completed | Failed | NotReady | None:
    try:
        stage = _stage(poll)
        answer = _run_check(poll, stage)
        match answer:
            case Ready():
                return _ready(poll, stage, answer)
            case BatchFailed():
                return Failed(code="BATCH_FAILED", message=plain(f"BatchFailed: {answer.error}"))
            case NotReady():
                return _timed_out(poll) or answer
            case _:
                raise InvalidStageData(
                    f"check_completion of stage {stage.id!r} returned {answer!r}; return Ready, NotReady or BatchFailed"
                )
    except (StoreUnavailable, DefinitionError, SettingsError):  # an unavailable store, or code that cannot be loaded
        raise
    except BaseException as error:  # a completion check may raise anything; it is recorded
        if is_ctrl_c(error):
            raise
        return failed_by(error)


def _run_check(poll: _Poll, stage: Stage[Any, Any, Any]) -> object:
    assert stage.check is not None, "an async-batch stage cannot be built without its check"
    answer = stage.check(_state(poll), _context(poll, stage))
    return asyncio.run(_await(answer)) if inspect.isawaitable(answer) else answer


async def _await(answer: Awaitable[object]) -> object:
    return await answer


def _timed_out(poll: _Poll) -> Failed | None:
    until = poll.stage.max_wait_until
    if until is None or poll.deps.clock.now() < until:
        return None
    return Failed(
        code="STAGE_TIMEOUT",
        message=f"StageTimeout: batch {_state(poll).batch_id!r} was not ready by {until.isoformat()}, its max_wait",
    )


class WorkflowChanged(EngineError):
    code = "WORKFLOW_CHANGED"


def _stage(poll: _Poll) -> Stage[Any, Any, Any]:
    workflow = poll.deps.registry.get_workflow(poll.run.workflow_id)
    if workflow is None:
        raise UnknownWorkflow(f"workflow {poll.run.workflow_id!r} is not registered")
    stage = workflow.get_stage(poll.stage.stage_id)
    if stage is None:
        raise WorkflowChanged(f"workflow {workflow.id!r} no longer has the stage {poll.stage.stage_id!r}")
    if stage.check is None:
        raise WorkflowChanged(f"stage {stage.id!r} no longer has a check_completion")
    return stage


def _state(poll: _Poll) -> SuspendedState:
    return SuspendedState.model_validate(poll.stage.suspended_state)


def _context(poll: _Poll, stage: Stage[Any, Any, Any]) -> CheckContext[Any]:
    deps = poll.deps
    return CheckContext(
        config=stage.validate_config(poll.stage.config),
        workflow_run_id=poll.run.id,
        workflow_id=poll.run.workflow_id,
        stage_id=stage.id,
        stage_name=stage.name,
        stage_number=poll.stage.stage_number,
        generation=poll.stage.generation,
        stage_record_id=poll.stage.id,
        recorder=poll.recorder,
        storage=RunStorage(poll.run, poll.stage, deps.blob_store),
        ai=deps.ai_for(f"workflow.{poll.run.id}.stage.{stage.id}", poll.recorder),
    )


def _ready(poll: _Poll, stage: Stage[Any, Any, Any], ready: Ready[Any]) -> Completed:
    key = f"{claim_prefix(poll.run, poll.stage, poll.token)}/output.json"
    output = poll.deps.store_value(stage.validate_output(ready.output), key)
    embeddings: Mapping[str, Any] | None = ready.embeddings
    return Completed(
        output=output,
        metrics=checked(ready.metrics, "metrics"),
        embeddings=checked(embeddings, "embeddings") if embeddings is not None else None,
    )


def _keep_waiting(poll: _Poll, answer: NotReady | None) -> Polled:
    deps, context = poll.deps, DecisionContext.of(poll.deps.clock, poll.deps.ids)
    wait = (answer.seconds if answer else None) or poll.stage.poll_interval_s or 30.0
    next_poll = context.at + timedelta(seconds=wait)
    if poll.stage.max_wait_until is not None:
        next_poll = min(next_poll, poll.stage.max_wait_until)
    deps.scheduler.wake(_poll_command(poll.stage), next_poll)
    recorded = poll.recorder.take_all()
    if needs_known(recorded.annotations):
        written = decide_stage(
            poll.job,
            lambda snapshot: keep_waiting(snapshot, poll.token, next_poll, recorded, context),
            deps,
            needs_whole_run=lambda _snapshot: False,
            annotations=recorded.annotations,
        )
    else:
        known = StageSnapshot(run=poll.run, stage=poll.stage, job=poll.job)
        written = deps.persistence.write(keep_waiting(known, poll.token, next_poll, recorded, context))
    if next_poll <= deps.clock.now():
        # The wake-up may have arrived before this commit and found the stage claimed.
        deps.scheduler.wake(_poll_command(poll.stage), next_poll)
    return Polled.WAITING if isinstance(written, Written) else Polled.NOT_MINE


def _end_or_fail(poll: _Poll, outcome: Completed | Failed) -> Polled:
    """What the store refuses for good fails the stage with that cause, as in the finish of an attempt."""
    try:
        return _end(poll, outcome)
    except (StoreUnavailable, StoreBehind):
        raise
    except (InvalidInput, StoreError) as error:
        job = poll.deps.persistence.read(lambda tx: tx.jobs.find(poll.job.id))
        if job is None or job.status is not JobStatus.SUSPENDED:
            raise
        fresh = replace(poll, recorder=_recorder(poll.run, poll.stage, poll.job, poll.deps))
        return _end(fresh, failed_by(error))


def _end(poll: _Poll, outcome: Completed | Failed) -> Polled:
    deps, workflow = poll.deps, poll.deps.registry.get_workflow(poll.run.workflow_id)
    spent = earlier_spending(poll.stage, deps)
    context = DecisionContext.of(deps.clock, deps.ids, trace=poll.job.trace_context, spent=spent)
    fact = StageFinish(
        outcome=outcome, token=poll.token, workflow=workflow, recorded=poll.recorder.take_all(), by_poll=True
    )
    written = decide_stage(
        poll.job,
        lambda snapshot: finish_stage(snapshot, fact, context),
        deps,
        needs_whole_run=lambda snapshot: needs_whole_run(snapshot, fact),
        annotations=fact.recorded.annotations,
    )
    if isinstance(written, Refused):
        return Polled.NOT_MINE
    notify(notifications(written.changes.inserted(JobRecord), poll.run), deps)
    return Polled.RESUMED if isinstance(outcome, Completed) else Polled.FAILED
