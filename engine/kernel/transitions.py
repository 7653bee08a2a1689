"""Moves one run on when its current group has nothing left to do; heals what a crash or an old bug left half done."""

from collections.abc import Sequence
from typing import Any

from engine.definition.workflow import Workflow
from engine.domain.lifecycle import Status
from engine.domain.records import LogLevel, LogRecord, StageRecord
from engine.domain.stored_value import inline
from engine.kernel.commands import RunTransitionResult
from engine.kernel.deps import Deps
from engine.kernel.notifying import notify
from engine.kernel.spending import earlier_spending
from engine.kernel.steps.advance_run import advance_run, workflow_failed
from engine.kernel.steps.diagnose import Need, Snapshot, diagnose, orphans
from engine.kernel.steps.open_group import DecisionContext, job_draft, notifications_of
from engine.ports.persistence import Persistence
from engine.ports.transaction import Tx
from engine.ports.write_set import Closes, JobDraft, OpenGroup, Verdict, WriteSet

NOOP = RunTransitionResult(action="noop")


def read_snapshot(run_id: str, persistence: Persistence) -> Snapshot | None:
    def read(tx: Tx) -> Snapshot | None:
        run = tx.runs.find(run_id)
        return Snapshot(run, tx.stages.of_run(run_id), tx.jobs.of_run(run_id)) if run else None

    return persistence.read(read)


def transition_run(snapshot: Snapshot, deps: Deps) -> RunTransitionResult:
    """Advances, completes or fails the run if it is time. Guarded by the version read: of two, one wins."""
    workflow = deps.registry.get_workflow(snapshot.run.workflow_id)
    need = diagnose(snapshot, workflow)
    if need is Need.FAIL:
        failed = next(stage for stage in snapshot.group() if stage.status is Status.FAILED)
        code, message = failed.error_code or "STAGE_FAILED", failed.error_message or "stage failed"
        return RunTransitionResult(action="failed") if fail_run(snapshot, code, message, deps) else NOOP
    if need is not Need.ADVANCE or workflow is None:
        return NOOP
    return _advance(snapshot, workflow, deps)


def fail_run(snapshot: Snapshot, code: str, message: str, deps: Deps) -> bool:
    """FAILED with that cause, in `output.error` too, and all that is open in it CANCELLED."""
    now = DecisionContext.of(deps.clock, deps.ids)
    write_set = WriteSet(
        run_id=snapshot.run.id,
        at=now.at,
        run_in=frozenset({Status.PENDING, Status.RUNNING}),
        expected_version=snapshot.run.version,
        run={
            "status": Status.FAILED,
            "failure_code": code,
            "failure_message": message,
            "output": inline({"error": {"code": code, "message": message}}),
        },
        closes=Closes.RUN,
        logs=(_log(LogLevel.ERROR, f"{code}: {message}", snapshot, now),),
        events=(workflow_failed(snapshot.run, now, code=code, message=message),),
    )
    return deps.persistence.apply(write_set).verdict is Verdict.APPLIED


def restore_jobs(snapshot: Snapshot, deps: Deps) -> bool:
    """Gives PENDING stages that lost their job a new one."""
    workflow = deps.registry.get_workflow(snapshot.run.workflow_id)
    now = DecisionContext.of(deps.clock, deps.ids, trace=snapshot.trace)
    jobs = _jobs(orphans(snapshot), snapshot, workflow, now)
    if not jobs:
        return False
    write_set = WriteSet(
        run_id=snapshot.run.id,
        at=now.at,
        expected_version=snapshot.run.version,
        jobs=jobs,
        logs=(_log(LogLevel.WARN, f"{len(jobs)} lost jobs were made again", snapshot, now),),
    )
    applied = deps.persistence.apply(write_set)
    if applied.verdict is Verdict.APPLIED:
        notify(notifications_of(jobs, snapshot.run), deps)
    return applied.verdict is Verdict.APPLIED


def _jobs(
    stages: Sequence[StageRecord], snapshot: Snapshot, workflow: Workflow[Any, Any] | None, now: DecisionContext
) -> tuple[JobDraft, ...]:
    if workflow is None:
        return ()
    known = [(workflow.get_stage(record.stage_id), record) for record in stages]
    return tuple(job_draft(stage, record, snapshot.run.priority, now) for stage, record in known if stage)


def _advance(snapshot: Snapshot, workflow: Workflow[Any, Any], deps: Deps) -> RunTransitionResult:
    group = snapshot.group()
    latest = max(group, key=lambda stage: stage.generation)
    now = DecisionContext.of(deps.clock, deps.ids, spent=earlier_spending(latest, deps))
    output = group[0].output_data if len(group) == 1 else None
    following = advance_run(workflow, snapshot.run, latest, now, output=output)
    write_set = WriteSet(
        run_id=snapshot.run.id,
        at=now.at,
        expected_version=snapshot.run.version,
        closes=Closes.DONE,
        then=following,
        failed_event=workflow_failed(snapshot.run, now),
    )
    applied = deps.persistence.apply(write_set)
    if applied.verdict is not Verdict.APPLIED:
        return NOOP
    if applied.run_status is Status.FAILED:
        return RunTransitionResult(action="failed")
    if not isinstance(following, OpenGroup):
        return RunTransitionResult(action="completed")
    notify(notifications_of(following.jobs, snapshot.run), deps)
    return RunTransitionResult(action="advanced", next_group=following.group_no)


def _log(level: LogLevel, message: str, snapshot: Snapshot, now: DecisionContext) -> LogRecord:
    return LogRecord(id=now.ids.new(), workflow_run_id=snapshot.run.id, level=level, message=message, created_at=now.at)
