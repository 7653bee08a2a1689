from engine.domain.events import WorkflowCancelled
from engine.domain.lifecycle import Status
from engine.kernel.commands import RunCancel, RunCancelResult
from engine.kernel.deps import Deps
from engine.kernel.notifying import SAFETY_WAKE, schedule_wakeup
from engine.ports.write_set import Closes, Verdict, WriteSet


def handle(command: RunCancel, deps: Deps) -> RunCancelResult:
    run_id, at = command.workflow_run_id, deps.clock.now()
    run = deps.persistence.read(lambda tx: tx.runs.find(run_id))
    if run is None or run.status not in {Status.PENDING, Status.RUNNING}:
        return RunCancelResult(cancelled=False)
    schedule_wakeup(run_id, at + SAFETY_WAKE, deps)
    event = WorkflowCancelled(timestamp=at, workflow_run_id=run_id, workflow_id=run.workflow_id, reason=command.reason)
    applied = deps.persistence.apply(
        WriteSet(
            run_id=run_id,
            at=at,
            run_in=frozenset({Status.PENDING, Status.RUNNING}),
            run={"status": Status.CANCELLED},
            closes=Closes.RUN,
            events=(event,),
        )
    )
    return RunCancelResult(cancelled=applied.verdict is Verdict.APPLIED)
