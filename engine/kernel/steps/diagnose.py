"""What a run needs, decided from its rows alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from engine.definition.workflow import Workflow
from engine.domain.lifecycle import TERMINAL, Status
from engine.domain.records import JobRecord, RunRecord, StageRecord


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A run with its stages and jobs, read together."""

    run: RunRecord
    stages: Sequence[StageRecord]
    jobs: Sequence[JobRecord]

    def group(self) -> list[StageRecord]:
        return [stage for stage in self.stages if stage.execution_group == self.run.group_no]

    @property
    def trace(self) -> str | None:
        """The trace context the run's jobs carry."""
        return next((job.trace_context for job in self.jobs if job.trace_context), None)

    def job_of(self, stage: StageRecord) -> JobRecord | None:
        """The stage's job that has not ended, if any."""
        open_jobs = (job for job in self.jobs if job.stage_record_id == stage.id and job.status not in TERMINAL)
        return next(open_jobs, None)


class Need(StrEnum):
    NOTHING = "NOTHING"  # terminal, or somebody is at it
    JOBS = "JOBS"  # stages wait without a job
    ADVANCE = "ADVANCE"  # the group is finished and nobody has gone on
    FAIL = "FAIL"  # a stage failed for good and the run does not know
    STUCK = "STUCK"  # nothing can ever happen again


def diagnose(snapshot: Snapshot, workflow: Workflow[Any, Any] | None) -> Need:
    run = snapshot.run
    if run.status is not Status.RUNNING:
        return Need.NOTHING
    group = snapshot.group()
    if orphans(snapshot):
        return Need.JOBS
    if any(snapshot.job_of(stage) for stage in group):
        return Need.NOTHING
    if any(stage.status is Status.FAILED for stage in group):
        return Need.FAIL
    return Need.ADVANCE if _is_finished(group, run, workflow) else Need.STUCK


def _is_finished(group: list[StageRecord], run: RunRecord, workflow: Workflow[Any, Any] | None) -> bool:
    complete = all(stage.status is Status.COMPLETED for stage in group)
    return workflow is not None and complete and len(group) == expected(workflow, run.group_no)


def orphans(snapshot: Snapshot) -> list[StageRecord]:
    """PENDING stages of the current group that no job will ever run."""
    return [stage for stage in snapshot.group() if stage.status is Status.PENDING and snapshot.job_of(stage) is None]


def expected(workflow: Workflow[Any, Any], group_no: int) -> int:
    """How many stages the group has; 0 before the first group and past the last."""
    return len(workflow.group(group_no)) if 1 <= group_no <= workflow.group_count else 0


def next_due(snapshot: Snapshot, now: datetime) -> datetime | None:
    """The earliest time at which something in the run waits to be done."""
    jobs = snapshot.jobs
    times = [job.due_at for job in jobs if job.status is Status.PENDING]
    times += [job.lease_until for job in jobs if job.status is Status.RUNNING and job.lease_until]
    times += [s.next_poll_at for s in snapshot.stages if s.status is Status.SUSPENDED and s.next_poll_at]
    if snapshot.run.status is Status.PENDING:
        times.append(now)
    return min(times, default=None)


def leased_until(snapshot: Snapshot) -> datetime | None:
    """When everybody who holds a lease in the run has finished or lost it."""
    leases = (job.lease_until for job in snapshot.jobs if job.status is Status.RUNNING and job.lease_until)
    return max(leases, default=None)
