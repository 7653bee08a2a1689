"""A host for one invocation at a time: no loop, nothing left running when it answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from engine.definition.stage import Stage
from engine.domain.errors import EngineError
from engine.hosts.heart import Heart
from engine.hosts.job_runner import JobReport, JobRunner
from engine.hosts.maintenance import TickResult, run_tick
from engine.hosts.options import DEFAULTS, HostOptions
from engine.kernel.commands import OutboxFlush, RunTend
from engine.kernel.deliveries import Delivery, LeaseRelease
from engine.kernel.kernel import Kernel
from engine.kernel.ringing import arm
from engine.ports.persistence import NoClaim

NO_LIMIT = float("inf")
FLUSHING = frozenset({"run.tend", "outbox.flush"})
PAGE = 10
OVERDUE = 120.0
"""Seconds after which a due job that nobody claimed counts as missed."""


ENOUGH = 0.5
"""Share of its pool's timeout that a stage without one of its own is started with, after the first of an invocation."""


class OutOfTime(EngineError):
    """The invocation has too little time left for the stage. Its message is to be delivered again."""

    code = "OUT_OF_TIME"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobMessage:
    """What a queue delivers: the ids of a job row. Only `job_id` and `workflow_run_id` decide; the rest is for logs."""

    job_id: str
    workflow_run_id: str
    workflow_id: str
    stage_id: str
    attempt: int = 1
    max_attempts: int | None = None
    payload: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """`ghost` means: nothing to do here (any more). Every outcome is to be acknowledged; only exceptions are not."""

    outcome: Literal["completed", "suspended", "failed", "ghost"]
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessedJobs:
    processed: int = 0
    succeeded: int = 0
    failed: int = 0


class ServerlessHost:
    """Works within one invocation.

    `time_left` gives the seconds the invocation still has. After the first, no stage is started, or claimed along, with
    less than its timeout plus `reserve`; one that has only its pool's timeout with less than half of that. A body that
    is still at it when only the reserve is left is handed back: the next invocation gives it all the time there is.

    `lease` gives the seconds a lease shall last from now. `on_body` is told of each body before it runs, `on_abandoned`
    when one was given up and still holds its thread: the process should not be used again.
    """

    def __init__(
        self,
        kernel: Kernel,
        *,
        worker_id: str,
        time_left: Callable[[], float] = lambda: NO_LIMIT,
        reserve: float = 5.0,
        lease: Callable[[], float] | None = None,
        options: HostOptions = DEFAULTS,
        on_abandoned: Callable[[], None] = lambda: None,
        on_body: Callable[[Delivery], None] = lambda _delivery: None,
    ) -> None:
        self._kernel, self.worker_id, self._options = kernel, worker_id, options
        self._time_left, self._reserve = time_left, reserve
        self._lease, self._on_abandoned, self._on_body = lease, on_abandoned, on_body
        self._has_worked = False

    def handle_job(self, message: JobMessage) -> JobResult:
        """Runs the job the message names, and what follows it in the same run while there is time.

        A job that cannot be claimed is a duplicate, a ghost, or the doorbell of a worker that died further along: its
        run is tended before the answer. Raises what the infrastructure raises, and `OutOfTime` where an earlier
        message has used up the time; the first gets what there is.
        """
        if self._has_worked:
            self._check_time(message)
        self._has_worked = True
        report = self._run(job_id=message.job_id, run_id=message.workflow_run_id)
        if isinstance(report, NoClaim):
            self._tend(message.workflow_run_id)
            return JobResult(outcome="ghost", error="nothing to claim")
        return JobResult(outcome=report.outcome, error=report.error)

    def process_available_jobs(self, max_jobs: int = 1, *, pools: tuple[str, ...] = ("default",)) -> ProcessedJobs:
        """Claims and runs up to `max_jobs` of the most urgent due jobs."""
        reports: list[JobReport] = []
        while len(reports) < max_jobs:
            report = self._run(pools=pools)
            if isinstance(report, NoClaim):
                break
            reports.append(report)
        succeeded = sum(report.outcome in {"completed", "suspended"} for report in reports)
        return ProcessedJobs(processed=len(reports), succeeded=succeeded, failed=len(reports) - succeeded)

    def run_maintenance_tick(self) -> TickResult:
        return run_tick(self._kernel, self.worker_id, self._options)

    def handle_wake(self, command: Mapping[str, Any]) -> object:
        """Dispatches a command that was asked for by the scheduler. One that finds nothing to do is a no-op.

        The events of its run are published too: a poll may have ended the run, and then nobody else comes.
        """
        result = self._kernel.dispatch(command)
        run_id = command.get("workflow_run_id")
        if isinstance(run_id, str) and command.get("type") not in FLUSHING:
            self._kernel.dispatch(OutboxFlush(workflow_run_id=run_id))
        return result

    def ring_overdue(self) -> int:
        """Rings for jobs that nobody came for, so that any activity heals what a lost doorbell left. Gives how many.

        A full page means a long queue, which is being worked off; ringing for it again would only make it longer.
        """
        overdue = self._kernel.overdue_jobs(PAGE, older_than=OVERDUE)
        if len(overdue) == PAGE:
            return 0
        self._kernel.deps.job_transport.notify(overdue)
        return len(overdue)

    def hand_back(self) -> int:
        """Releases whatever this host holds, without counting the delivery. Gives how many jobs."""
        return self._kernel.dispatch(LeaseRelease(worker_ids=(self.worker_id,), refund=True))

    def _tend(self, run_id: str) -> None:
        """The message is about to be deleted and may have been that of a worker who still has a lease, or had one."""
        leased_until = self._kernel.dispatch(RunTend(workflow_run_id=run_id)).leased_until
        if leased_until is not None:
            arm(run_id, leased_until, self._kernel.deps)

    def _run(
        self, *, pools: tuple[str, ...] = (), job_id: str | None = None, run_id: str | None = None
    ) -> JobReport | NoClaim:
        with Heart(
            self._kernel,
            self._options,
            lease=self._lease,
            must_leave=lambda: self._time_left() < self._reserve,
            on_abandoned=self._on_abandoned,
        ) as heart:
            runner = JobRunner(
                self._kernel,
                heart,
                self.worker_id,
                self._options,
                may_continue=self._has_time_for,
                on_body=self._on_body,
            )
            report = runner.run(pools=pools, job_id=job_id, run_id=run_id)
        if not isinstance(report, NoClaim):
            self._kernel.dispatch(OutboxFlush(workflow_run_id=report.workflow_run_id))
        return report

    def _check_time(self, message: JobMessage) -> None:
        workflow = self._kernel.deps.registry.get_workflow(message.workflow_id)
        stage = workflow.get_stage(message.stage_id) if workflow else None
        if stage is not None and not self._has_time_for(stage):
            raise OutOfTime(
                f"{self._time_left():.0f} s are left, too little for stage {stage.id!r}; another invocation takes it"
            )

    def _has_time_for(self, stage: Stage[Any, Any, Any]) -> bool:
        timeout = self._kernel.deps.timeout_of(stage) or 0.0
        needed = timeout if stage.timeout is not None else timeout * ENOUGH
        return self._time_left() >= needed + self._reserve
