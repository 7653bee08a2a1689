"""A test kernel whose workers take their steps one by one, so that a test can put anything between them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.domain.events import Event, parse_event
from engine.domain.lifecycle import Status
from engine.domain.records import JobRecord, RunRecord, StageRecord
from engine.domain.stored_value import Json
from engine.hosts.serverless import JobMessage, JobResult
from engine.kernel import OutboxFlush, OutboxFlushResult, RunCreate
from engine.kernel.attempts import Attempt, Finished, JobFinish, JobHeartbeat, JobStart
from engine.kernel.outcomes import Outcome
from engine.ports.job_transport import JobNotification
from engine.ports.persistence import NoClaim
from engine.ports.transaction import LeaseState
from engine.ports.write_set import Lease
from engine.testing import TestKernel

LEASE = 300.0


@dataclass(frozen=True)
class Told:
    """An event as a consumer reads it."""

    type: str
    stage_id: str | None


class Bench(TestKernel):
    __test__ = False

    # What is stored

    def run_of(self, run_id: str) -> RunRecord:
        return self.reads.run(run_id).run

    def stage(self, run_id: str, stage_id: str = "a") -> StageRecord:
        return next(stage for stage in self.reads.run(run_id).stages if stage.stage_id == stage_id)

    def job(self, run_id: str, stage_id: str = "a") -> JobRecord:
        """The newest job of the stage."""
        return [job for job in self.reads.run(run_id).jobs if job.stage_id == stage_id][-1]

    def statuses(self, run_id: str) -> dict[str, Status]:
        return {stage.stage_id: stage.status for stage in self.reads.run(run_id).stages}

    def told(self, run_id: str) -> list[str]:
        """Types of all events of the run, published or not, in order."""
        return [event.event_type for event in self.reads.events(run_id)]

    def events_of(self, run_id: str) -> list[Event]:
        return [
            parse_event(dict(each.payload), sequence=each.sequence, event_id=each.id)
            for each in self.reads.events(run_id)
        ]

    def last_event(self, run_id: str, event_type: str) -> Any:
        return [event for event in self.events_of(run_id) if event.type == event_type][-1]

    # A worker, step by step

    def create(self, workflow_id: str = "w", *given: Json, **fields: Any) -> str:
        return super().create(workflow_id, *given, **fields)

    def create_pending(self, workflow_id: str = "w", value: Json = None, **fields: Any) -> str:
        command = RunCreate(workflow_id=workflow_id, input=value, **fields)
        return self.dispatch(command).workflow_run_id

    def start(self, run_id: str | None = None, *, worker: str = "w1", job_id: str | None = None) -> Attempt:
        """Claims a job that must be there."""
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
        """One job from claim to commit."""
        return self.finish(self.start(run_id, worker=worker))

    def deliver(self, job: JobRecord | JobNotification) -> JobResult:
        """Delivers a queue message for the job, as often as a test likes."""
        job_id = job.job_id if isinstance(job, JobNotification) else job.id
        return self.host.handle_job(
            JobMessage(job_id=job_id, workflow_run_id=job.workflow_run_id, workflow_id="w", stage_id=job.stage_id)
        )

    def publish(self, run_id: str | None = None) -> OutboxFlushResult:
        return self.dispatch(OutboxFlush(workflow_run_id=run_id))

    def output_of(self, stage: StageRecord) -> Json:
        return self.reads.value(stage.output_data)

    def wakes(self) -> list[Mapping[str, Any]]:
        """Takes the wakes that are due."""
        return list(self.timers.take_due(self.clock.now()))
