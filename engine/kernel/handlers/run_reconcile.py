from datetime import datetime

from engine.domain.lifecycle import JobStatus, RunStatus, StageStatus
from engine.kernel.commands import RunReconcile, RunReconcileResult
from engine.kernel.deciding import read_run
from engine.kernel.leases import release_lease
from engine.kernel.notifying import notifications, notify, schedule_wakeup
from engine.kernel.polls import poll_stage
from engine.kernel.running import recreate_missing_jobs, transition_run
from engine.kernel.starting import start_run
from engine.ports.deps import Deps
from engine.publishing.outbox import flush_run
from engine.transitions.advance_run import Need, leased_until, need_of, next_due
from engine.transitions.snapshots import RunSnapshot

MAX_EVENTS = 100


def handle(command: RunReconcile, deps: Deps) -> RunReconcileResult:
    began = deps.clock.now()
    snapshot = read_run(command.workflow_run_id, deps.persistence)
    if snapshot is None:
        return RunReconcileResult(status=None, next_due=None)
    if snapshot.run.status is RunStatus.PENDING and start_run(snapshot.run, deps) is None:
        # Another process has started the run, or this one has and the answer was lost. Workers may not be notified.
        snapshot = read_run(command.workflow_run_id, deps.persistence) or snapshot
    if snapshot.run.status is not RunStatus.PENDING:
        _repair(snapshot, began, deps)
    flush_run(command.workflow_run_id, deps, limit=MAX_EVENTS)
    after = read_run(command.workflow_run_id, deps.persistence)
    if after is None:
        return RunReconcileResult(status=None, next_due=None)
    _schedule_later_jobs(after, began, deps)
    due = next_due(after, deps.clock.now())
    return RunReconcileResult(status=after.run.status, next_due=due, leased_until=leased_until(after))


def _repair(snapshot: RunSnapshot, now: datetime, deps: Deps) -> None:
    for job in snapshot.jobs:
        if job.status is JobStatus.RUNNING and job.lease_until is not None and job.lease_until <= now:
            release_lease(job, deps, expired=True)
    for stage in snapshot.stages:
        if stage.status is StageStatus.SUSPENDED and stage.next_poll_at is not None and stage.next_poll_at <= now:
            poll_stage(stage.id, deps)
    if need_of(snapshot, deps.registry.get_workflow(snapshot.run.workflow_id)) is Need.JOBS:
        recreate_missing_jobs(snapshot, deps)
    else:
        transition_run(snapshot, deps)
    due = [job for job in snapshot.jobs if job.status is JobStatus.PENDING and job.due_at <= now]
    since = min((job.due_at for job in due), default=None)
    notify(notifications(due, snapshot.run), deps, waiting_since=since)


def _schedule_later_jobs(snapshot: RunSnapshot, began: datetime, deps: Deps) -> None:
    """Schedules a wake-up for jobs that were not due when the command began.

    The wake-up of a retry may arrive before the retry is due. A job that was inserted or released meanwhile may lack
    its notification, because the answer of that commit was lost.
    """
    later = [job.due_at for job in snapshot.jobs if job.status is JobStatus.PENDING and job.due_at > began]
    if later:
        schedule_wakeup(snapshot.run.id, min(later), deps)
