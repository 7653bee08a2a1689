"""A test kernel whose workers go step by step, so that a test can act between the steps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.domain.events import Event, parse_event
from engine.domain.lifecycle import JobStatus, StageStatus
from engine.domain.records import JobRecord, RunRecord, StageRecord
from engine.domain.values import Json
from engine.execution.attempt import Attempt
from engine.hosts.serverless import JobMessage, JobResult
from engine.kernel import OutboxFlush, OutboxFlushResult, RunCreate
from engine.kernel.host_commands import Finished, JobFinish, JobHeartbeat, JobStart, LeaseState
from engine.ports.changes import Changes, JobUpdate, RunUpdate, StagePatch, StageUpdate, Written
from engine.ports.job_transport import JobNotification
from engine.ports.persistence import Lease, NoClaim
from engine.testing import TestKernel
from engine.transitions.facts import Outcome

LEASE = 300.0


@dataclass(frozen=True)
class Told:
    """An event as a consumer reads it."""

    type: str
    stage_id: str | None


class Bench(TestKernel):
    __test__ = False

    # Stored rows

    def run_of(self, run_id: str) -> RunRecord:
        return self.reads.run(run_id).run

    def stage(self, run_id: str, stage_id: str = "a") -> StageRecord:
        return next(stage for stage in self.reads.run(run_id).stages if stage.stage_id == stage_id)

    def job(self, run_id: str, stage_id: str = "a") -> JobRecord:
        """The newest job of the stage."""
        return [job for job in self.reads.run(run_id).jobs if job.stage_id == stage_id][-1]

    def statuses(self, run_id: str) -> dict[str, StageStatus]:
        return {stage.stage_id: stage.status for stage in self.reads.run(run_id).stages}

    def told(self, run_id: str) -> list[str]:
        """Types of all events of the run, published or not, in order."""
        return [event.event_type for event in self.reads.events(run_id)]

    def events_of(self, run_id: str) -> list[Event]:
        return [
            parse_event(dict(each.payload), sequence=each.sequence, event_id=each.id, timestamp=each.occurred_at)
            for each in self.reads.events(run_id)
        ]

    def last_event(self, run_id: str, event_type: str) -> Any:
        return [event for event in self.events_of(run_id) if event.type == event_type][-1]

    def force(self, *updates: RunUpdate | StageUpdate | JobUpdate) -> None:
        """Sets rows to a state that an older version or a bug could have left."""
        run = next((update for update in updates if isinstance(update, RunUpdate)), None)
        writes = tuple(update for update in updates if not isinstance(update, RunUpdate))
        changes = Changes(run_id="", at=self.clock.now(), run=run, writes=writes)
        assert isinstance(self.kernel.deps.persistence.write(changes), Written)

    def end_only_the_stage(self, attempt: Attempt, patch: StagePatch, job: JobStatus = JobStatus.COMPLETED) -> None:
        """Leaves the rows of an engine that crashed between the end of a stage and the advance of its run."""
        claim = attempt.claim
        self.force(
            StageUpdate(ids=(claim.stage.id,), set=patch),
            JobUpdate(ids=(claim.job.id,), set={"status": job, "lease_until": None}),
        )

    # A worker, step by step

    def create(self, workflow_id: str = "w", *given: Json, **fields: Any) -> str:
        return super().create(workflow_id, *given, **fields)

    def create_pending(self, workflow_id: str = "w", value: Json = None, **fields: Any) -> str:
        command = RunCreate(workflow_id=workflow_id, input=value, **fields)
        return self.dispatch(command).workflow_run_id

    def start(self, run_id: str | None = None, *, worker: str = "w1", job_id: str | None = None) -> Attempt:
        """Claims a job. It must exist."""
        started = self.try_start(run_id, worker=worker, job_id=job_id)
        assert isinstance(started, Attempt), f"nothing to claim: {started}"
        return started

    def try_start(
        self, run_id: str | None = None, *, worker: str = "w1", job_id: str | None = None
    ) -> Attempt | NoClaim:
        command = JobStart(worker_id=worker, lease_seconds=LEASE, pools=("default",), run_id=run_id, job_id=job_id)
        return self.dispatch(command)

    def perform(self, attempt: Attempt) -> Outcome:
        return self.kernel.perform(attempt)

    def beat(self, attempt: Attempt) -> LeaseState:
        return self.dispatch(JobHeartbeat(attempt=attempt, lease_seconds=LEASE))

    def finish(self, attempt: Attempt, outcome: Outcome | None = None, *, lease: Lease | None = None) -> Finished:
        """Commits the outcome; without one the body runs first."""
        ended = outcome or self.perform(attempt)
        return self.dispatch(JobFinish(attempt=attempt, outcome=ended, lease=lease))

    def work(self, run_id: str | None = None, *, worker: str = "w1") -> Finished:
        """Runs one job from claim to commit."""
        return self.finish(self.start(run_id, worker=worker))

    def deliver(self, job: JobRecord | JobNotification) -> JobResult:
        """Delivers a queue message for the job; may be repeated."""
        job_id = job.job_id if isinstance(job, JobNotification) else job.id
        return self.host.handle_job(
            JobMessage(job_id=job_id, workflow_run_id=job.workflow_run_id, workflow_id="w", stage_id=job.stage_id)
        )

    def publish(self, run_id: str | None = None) -> OutboxFlushResult:
        return self.dispatch(OutboxFlush(workflow_run_id=run_id))

    def output_of(self, stage: StageRecord) -> Json:
        return self.reads.value(stage.output_data)

    def wakes(self) -> list[Mapping[str, Any]]:
        """Takes the wake-ups that are due."""
        return list(self.timers.take_due(self.clock.now()))
