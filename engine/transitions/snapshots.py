"""Rows as input of a decision."""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.domain.lifecycle import OPEN_JOBS
from engine.domain.records import JobRecord, RunRecord, StageRecord
from engine.transitions.annotations import KnownAnnotations


@dataclass(frozen=True, slots=True)
class RunSnapshot:
    """A run with its stages, in the order of the pipeline, and its jobs, oldest first, read together."""

    run: RunRecord
    stages: Sequence[StageRecord]
    jobs: Sequence[JobRecord]

    def group(self) -> list[StageRecord]:
        """The stage records of the current execution group."""
        return [stage for stage in self.stages if stage.execution_group == self.run.group_no]

    @property
    def trace(self) -> str | None:
        """The trace context of the run's jobs."""
        return next((job.trace_context for job in self.jobs if job.trace_context), None)

    def job_of(self, stage: StageRecord) -> JobRecord | None:
        """The stage's job that has not ended, if any."""
        return next((job for job in self.jobs if job.stage_record_id == stage.id and job.status in OPEN_JOBS), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSnapshot:
    """A stage with its run and its job. `whole` is the whole run, or None if it was not read.

    Only the last stage of a wide group, or one that ends its run, needs its siblings.
    """

    run: RunRecord
    stage: StageRecord
    job: JobRecord
    whole: RunSnapshot | None = None
    annotations: KnownAnnotations = frozenset()

    def other_stages(self) -> list[StageRecord]:
        return [stage for stage in self.whole.stages if stage.id != self.stage.id] if self.whole else []

    def other_jobs(self) -> list[JobRecord]:
        return [job for job in self.whole.jobs if job.id != self.job.id] if self.whole else []
