from datetime import timedelta

from engine.domain.records import RunRecord
from engine.kernel.commands import RunReapStuck, RunReapStuckResult
from engine.kernel.deps import Deps
from engine.kernel.steps.diagnose import Need, Snapshot, diagnose
from engine.kernel.transitions import fail_run, read_snapshot, restore_jobs, transition_run


def handle(command: RunReapStuck, deps: Deps) -> RunReapStuckResult:
    before = deps.clock.now() - timedelta(seconds=command.stuck_threshold)
    runs = deps.persistence.read(lambda tx: tx.runs.quiet(before, command.max_runs))
    done = [_reap(run, deps) for run in runs]
    return RunReapStuckResult(
        transitioned=done.count("transitioned"), failed=done.count("failed"), recovered=done.count("recovered")
    )


def _reap(run: RunRecord, deps: Deps) -> str:
    snapshot = read_snapshot(run.id, deps.persistence)
    if snapshot is None or snapshot.run.version != run.version:
        return "alive"
    match diagnose(snapshot, deps.registry.get_workflow(run.workflow_id)):
        case Need.NOTHING:
            return "alive"
        case Need.JOBS:
            return "recovered" if restore_jobs(snapshot, deps) else _fail(snapshot, deps)
        case Need.ADVANCE | Need.FAIL:
            return "transitioned" if transition_run(snapshot, deps).action != "noop" else "alive"
        case Need.STUCK:
            return _fail(snapshot, deps)


def _fail(snapshot: Snapshot, deps: Deps) -> str:
    stages = ", ".join(f"{stage.stage_id} {stage.status}" for stage in snapshot.stages) or "none"
    message = f"the run is RUNNING and nothing in it can go on; its stages: {stages}"
    return "failed" if fail_run(snapshot, "STUCK_RUN_REAPED", message, deps) else "alive"
