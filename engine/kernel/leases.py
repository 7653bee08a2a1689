"""Releases jobs of workers that no longer hold them."""

from datetime import timedelta

from engine.domain.lifecycle import JobStatus
from engine.domain.records import JobRecord, RunRecord
from engine.kernel.deciding import decide_stage
from engine.kernel.notifying import notification, notify, schedule_wakeup
from engine.ports.changes import Changes, JobUpdate, Refused
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
    """Ends the lease the job was read with: PENDING again, due in `seconds`, or FAILED once its attempts are spent.

    With `expired` only if the lease has run out on the store's clock; without, at once (its worker is known to be
    dead, or gives it back). False when somebody else was faster.
    """
    release = JobRelease(token=job.lease_token, expired=expired, uncounted=uncounted, due_in=seconds, why=reason)
    context, runs = DecisionContext.of(deps.clock, deps.ids), dict[str, RunRecord]()

    def decide(snapshot: StageSnapshot) -> Changes | Refused:
        runs[snapshot.run.id] = snapshot.run
        return release_job(snapshot, release, context)

    if seconds:
        schedule_wakeup(job.workflow_run_id, context.at + timedelta(seconds=seconds), deps)
    written = decide_stage(job, decide, deps, needs_whole_run=lambda snapshot: ends_stage(snapshot, release))
    if isinstance(written, Refused):
        return False
    if _is_due_again(written.changes) and not seconds:
        notify([notification(job, runs[job.workflow_run_id])], deps)
    return True


def _is_due_again(changes: Changes) -> bool:
    updates = (write for write in changes.writes if isinstance(write, JobUpdate))
    return any(update.set.get("status") is JobStatus.PENDING for update in updates)
