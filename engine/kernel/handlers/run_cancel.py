from engine.domain.lifecycle import RunStatus
from engine.kernel.commands import RunCancel, RunCancelResult
from engine.kernel.deciding import decide_run
from engine.kernel.notifying import SAFETY_WAKE, schedule_wakeup
from engine.ports.changes import Written
from engine.ports.deps import Deps
from engine.transitions.context import DecisionContext
from engine.transitions.end_run import cancel_run


def handle(command: RunCancel, deps: Deps) -> RunCancelResult:
    run_id, context = command.workflow_run_id, DecisionContext.of(deps.clock, deps.ids)
    run = deps.persistence.read(lambda tx: tx.runs.find(run_id))
    if run is None or run.status not in {RunStatus.PENDING, RunStatus.RUNNING}:
        return RunCancelResult(cancelled=False)
    schedule_wakeup(run_id, context.at + SAFETY_WAKE, deps)
    written = decide_run(run_id, lambda snapshot: cancel_run(snapshot, command.reason, context), deps)
    return RunCancelResult(cancelled=isinstance(written, Written))
