"""Releases leases of jobs, and notifies workers of the jobs."""

from datetime import timedelta

from engine.domain.lifecycle import JobStatus
from engine.domain.records import JobRecord
from engine.kernel.deciding import decide_stage
from engine.kernel.notifying import notification, notify, schedule_wakeup
from engine.ports.changes import Changes, JobUpdate, Refused, Written
from engine.ports.deps import Deps
from engine.transitions.context import DecisionContext
from engine.transitions.release_job import JobRelease, ends_stage, release_job
from engine.transitions.snapshots import StageSnapshot


def release_lease(
    job: JobRecord,
    deps: Deps,
    *,
    expired: bool,
    uncounted: bool = False,
    seconds: float = 0.0,
    reason: str | None = None,
) -> bool:
    """Releases the lease of `job`, which is then PENDING and due in `seconds`, or FAILED if its attempts are spent.

    `expired`: only if the lease has run out on the store's clock. Otherwise at once: the worker is dead, or returns the
    job. False if the lease has ended or changed since `job` was read.
    """
    release = JobRelease(token=job.lease_token, expired=expired, uncounted=uncounted, due_in=seconds, why=reason)
    context, seen = DecisionContext.of(deps.clock, deps.ids), list[StageSnapshot]()

    def decide(snapshot: StageSnapshot) -> Changes | Refused:
        seen.append(snapshot)
        return release_job(snapshot, release, context)

    wakeup_at = context.at + timedelta(seconds=seconds)
    if seconds:
        schedule_wakeup(job.workflow_run_id, wakeup_at, deps)
    written = decide_stage(job, decide, deps, needs_whole_run=lambda snapshot: ends_stage(snapshot, release))
    if isinstance(written, Refused):
        # Released before, perhaps by this very call, whose first answer was lost: then nobody was notified.
        is_due_again = bool(seen) and seen[-1].job.status is JobStatus.PENDING
    else:
        is_due_again = _is_due_again(written.changes)
    if is_due_again and not seconds:
        notify([notification(job, seen[-1].run)], deps)
    elif is_due_again and wakeup_at <= deps.clock.now():
        # The wake-up may have arrived before the commit and found nothing to do.
        schedule_wakeup(job.workflow_run_id, deps.clock.now() + timedelta(seconds=seconds), deps)
    return isinstance(written, Written)


def _is_due_again(changes: Changes) -> bool:
    updates = (write for write in changes.writes if isinstance(write, JobUpdate))
    return any(update.set.get("status") is JobStatus.PENDING for update in updates)
