from engine.kernel.commands import RunTransition, RunTransitionResult
from engine.kernel.deps import Deps
from engine.kernel.transitions import NOOP, read_snapshot, transition_run


def handle(command: RunTransition, deps: Deps) -> RunTransitionResult:
    snapshot = read_snapshot(command.workflow_run_id, deps.persistence)
    return transition_run(snapshot, deps) if snapshot else NOOP
