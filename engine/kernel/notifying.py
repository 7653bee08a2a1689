"""Notifies workers of committed jobs. A lost notification costs time only."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from engine.domain.records import JobRecord, RunRecord
from engine.kernel.commands import RunReconcile
from engine.ports.deps import Deps
from engine.ports.job_transport import JobNotification

SAFETY_WAKE = timedelta(seconds=90)


def schedule_wakeup(run_id: str, at: datetime, deps: Deps) -> None:
    """Schedules a `run.reconcile` of the run for that time."""
    deps.scheduler.wake(RunReconcile(workflow_run_id=run_id).model_dump(mode="json"), at)


def notify(notifications: Sequence[JobNotification], deps: Deps, *, waiting_since: datetime | None = None) -> None:
    """Schedules a wake-up of each run, in case the notification is lost, and then notifies.

    A caller acknowledges its own message only after this returns, so a crash here causes a redelivery. The wake-up is
    later the longer the jobs have waited, so that a backlog is not notified again and again.
    """
    if not notifications:
        return
    now = deps.clock.now()
    waited = now - waiting_since if waiting_since is not None else timedelta()
    for run_id in dict.fromkeys(notification.workflow_run_id for notification in notifications):
        schedule_wakeup(run_id, now + max(SAFETY_WAKE, waited), deps)
    deps.job_transport.notify(notifications)


def notifications(jobs: Iterable[JobRecord], run: RunRecord) -> tuple[JobNotification, ...]:
    return tuple(notification(job, run) for job in jobs)


def notification(job: JobRecord, run: RunRecord) -> JobNotification:
    return JobNotification(
        job_id=job.id,
        workflow_run_id=run.id,
        workflow_id=run.workflow_id,
        stage_id=job.stage_id,
        pool=job.pool,
        tenant=run.tenant,
    )
