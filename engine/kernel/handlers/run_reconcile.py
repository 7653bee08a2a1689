from engine.domain.lifecycle import Status
from engine.kernel.commands import RunReconcile, RunReconcileResult
from engine.kernel.deps import Deps
from engine.kernel.flushing import flush_run
from engine.kernel.leases import notification_of, release_lease
from engine.kernel.notifying import notify
from engine.kernel.polls import poll_stage
from engine.kernel.starting import start_run
from engine.kernel.steps.diagnose import Need, Snapshot, diagnose, leased_until, next_due
from engine.kernel.transitions import read_snapshot, restore_jobs, transition_run

MAX_EVENTS = 100


def handle(command: RunReconcile, deps: Deps) -> RunReconcileResult:
    snapshot = read_snapshot(command.workflow_run_id, deps.persistence)
    if snapshot is None:
        return RunReconcileResult(status=None, next_due=None)
    _take_over(snapshot, deps)
    flush_run(command.workflow_run_id, deps, limit=MAX_EVENTS)
    after = read_snapshot(command.workflow_run_id, deps.persistence)
    if after is None:
        return RunReconcileResult(status=None, next_due=None)
    due = next_due(after, deps.clock.now())
    return RunReconcileResult(status=after.run.status, next_due=due, leased_until=leased_until(after))


def _take_over(snapshot: Snapshot, deps: Deps) -> None:
    now = deps.clock.now()
    if snapshot.run.status is Status.PENDING:
        start_run(snapshot.run, deps)
        return
    for job in snapshot.jobs:
        if job.status is Status.RUNNING and job.lease_until is not None and job.lease_until <= now:
            release_lease(job, deps, expired=True)
    for stage in snapshot.stages:
        if stage.status is Status.SUSPENDED and stage.next_poll_at is not None and stage.next_poll_at <= now:
            poll_stage(stage.id, deps)
    if diagnose(snapshot, deps.registry.get_workflow(snapshot.run.workflow_id)) is Need.JOBS:
        restore_jobs(snapshot, deps)
    else:
        transition_run(snapshot, deps)
    due = [job for job in snapshot.jobs if job.status is Status.PENDING and job.due_at <= now]
    since = min((job.due_at for job in due), default=None)
    notify([notification_of(job, snapshot.run) for job in due], deps, waiting_since=since)
