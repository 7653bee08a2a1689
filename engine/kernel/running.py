"""Advances, completes, fails and repairs one run, outside of the finish of a stage."""

from engine.domain.lifecycle import RunStatus
from engine.domain.records import JobRecord
from engine.kernel.commands import RunTransition, RunTransitionResult
from engine.kernel.deciding import decide_run, earlier_spending, read_run
from engine.kernel.notifying import notifications, notify
from engine.ports.changes import Changes, Refused, RunUpdate, Written
from engine.ports.deps import Deps
from engine.transitions import advance_run, end_run
from engine.transitions.advance_run import Need, need_of
from engine.transitions.context import DecisionContext
from engine.transitions.snapshots import RunSnapshot

NOOP = RunTransitionResult(action="noop")


def transition(command: RunTransition, deps: Deps) -> RunTransitionResult:
    snapshot = read_run(command.workflow_run_id, deps.persistence)
    return transition_run(snapshot, deps) if snapshot else NOOP


def transition_run(snapshot: RunSnapshot, deps: Deps) -> RunTransitionResult:
    """Advances, completes or fails a run without open jobs. The decision is repeated under the run's lock."""
    run, workflow = snapshot.run, deps.registry.get_workflow(snapshot.run.workflow_id)
    if need_of(snapshot, workflow) not in {Need.FAIL, Need.ADVANCE}:
        return NOOP
    latest = max(snapshot.group(), key=lambda stage: stage.generation)
    spent = earlier_spending(latest, deps)
    context = DecisionContext.of(deps.clock, deps.ids, trace=snapshot.trace, spent=spent)
    written = decide_run(run.id, lambda locked: advance_run.transition_run(locked, workflow, context), deps)
    if isinstance(written, Refused):
        return NOOP
    notify(notifications(written.changes.inserted(JobRecord), run), deps)
    return _answer(written.changes)


def _answer(changes: Changes) -> RunTransitionResult:
    assert isinstance(changes.run, RunUpdate), "a transition of a run updates its row"
    match changes.run.set.get("status"):
        case RunStatus.FAILED:
            return RunTransitionResult(action="failed")
        case RunStatus.COMPLETED:
            return RunTransitionResult(action="completed")
        case _:
            return RunTransitionResult(action="advanced", next_group=changes.run.set["group_no"])


def fail_run(run_id: str, code: str, message: str, deps: Deps, *, version: int | None = None) -> bool:
    """Fails the run and cancels its open stages and jobs. With `version`, only if the run still has that version."""
    context = DecisionContext.of(deps.clock, deps.ids)

    def decide(snapshot: RunSnapshot) -> Changes | Refused:
        if version not in {None, snapshot.run.version}:
            return Refused()
        return end_run.fail_run(snapshot, code, message, context)

    return isinstance(decide_run(run_id, decide, deps), Written)


def recreate_missing_jobs(snapshot: RunSnapshot, deps: Deps) -> bool:
    """Inserts a job for each PENDING stage that has none."""
    run, workflow = snapshot.run, deps.registry.get_workflow(snapshot.run.workflow_id)
    context = DecisionContext.of(deps.clock, deps.ids, trace=snapshot.trace)
    written = decide_run(run.id, lambda locked: advance_run.recreate_missing_jobs(locked, workflow, context), deps)
    if isinstance(written, Refused):
        return False
    notify(notifications(written.changes.inserted(JobRecord), run), deps)
    return True
