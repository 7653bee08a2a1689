from engine.kernel.commands import RunClaimPending, RunClaimPendingResult
from engine.kernel.deps import Deps
from engine.kernel.starting import start_run


def handle(command: RunClaimPending, deps: Deps) -> RunClaimPendingResult:
    runs = deps.persistence.read(lambda tx: tx.runs.pending(command.max_claims))
    started = [start_run(run, deps) for run in runs]
    return RunClaimPendingResult(claimed=tuple(each for each in started if each is not None))
