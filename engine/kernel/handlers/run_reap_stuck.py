from datetime import timedelta

from engine.domain.records import RunRecord
from engine.kernel.commands import RunReapStuck, RunReapStuckResult
from engine.kernel.deciding import read_run
from engine.kernel.running import fail_run, recreate_missing_jobs, transition_run
from engine.ports.deps import Deps
from engine.transitions.advance_run import Need, need_of
from engine.transitions.snapshots import RunSnapshot


def handle(command: RunReapStuck, deps: Deps) -> RunReapStuckResult:
    before = deps.clock.now() - timedelta(seconds=command.stuck_threshold)
    runs = deps.persistence.read(lambda tx: tx.runs.quiet(before, command.max_runs))
    done = [_reap(run, deps) for run in runs]
    return RunReapStuckResult(
        transitioned=done.count("transitioned"), failed=done.count("failed"), recovered=done.count("recovered")
    )


def _reap(run: RunRecord, deps: Deps) -> str:
    snapshot = read_run(run.id, deps.persistence)
    if snapshot is None or snapshot.run.version != run.version:
        return "alive"
    match need_of(snapshot, deps.registry.get_workflow(run.workflow_id)):
        case Need.NOTHING:
            return "alive"
        case Need.JOBS:
            return "recovered" if recreate_missing_jobs(snapshot, deps) else _fail(snapshot, deps)
        case Need.ADVANCE | Need.FAIL:
            return "transitioned" if transition_run(snapshot, deps).action != "noop" else "alive"
        case Need.STUCK:
            return _fail(snapshot, deps)


def _fail(snapshot: RunSnapshot, deps: Deps) -> str:
    run = snapshot.run
    stages = ", ".join(f"{stage.stage_id} {stage.status}" for stage in snapshot.stages) or "none"
    message = f"the run is RUNNING, but has no job, no poll and no transition left; its stages: {stages}"
    return "failed" if fail_run(run.id, "STUCK_RUN_REAPED", message, deps, version=run.version) else "alive"
