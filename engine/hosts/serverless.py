"""A host for one invocation at a time. It has no loop, and no thread of it outlives the answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from engine.definition.stage import Stage
from engine.domain.errors import EngineError
from engine.execution.attempt import Attempt
from engine.hosts.job_runner import JobReport, JobRunner
from engine.hosts.lease_keeper import LeaseKeeper
from engine.hosts.maintenance import TickResult, run_tick
from engine.hosts.options import DEFAULTS, HostOptions
from engine.kernel.commands import OutboxFlush, RunReconcile
from engine.kernel.host_commands import LeaseRelease
from engine.kernel.kernel import Kernel
from engine.kernel.notifying import schedule_wakeup
from engine.ports.persistence import NoClaim

NO_LIMIT = float("inf")
FLUSHING = frozenset({"run.reconcile", "outbox.flush"})
PAGE = 10
OVERDUE = 120.0
"""Seconds after which a due job that was not claimed is overdue: its notification was lost."""


MIN_TIME_SHARE = 0.5
"""A stage without its own timeout starts as a later one of an invocation with this share of its pool's timeout left."""


class OutOfTime(EngineError):
    """The invocation has too little time left for the stage. The message must be delivered again."""

    code = "OUT_OF_TIME"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobMessage:
    """A queue message with the ids of a job row. `job_id` and `workflow_run_id` select the job; the rest is logged."""

    job_id: str
    workflow_run_id: str
    workflow_id: str
    stage_id: str
    attempt: int = 1
    max_attempts: int | None = None
    payload: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """The result of a message. `ghost`: the job needed no work. Acknowledge every outcome; only exceptions retry."""

    outcome: Literal["completed", "suspended", "failed", "ghost"]
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessedJobs:
    processed: int = 0
    succeeded: int = 0
    failed: int = 0


class ServerlessHost:
    """Runs jobs, wake-ups and maintenance within one invocation.

    `time_left` gives the seconds that the invocation has left. The first stage always starts. A later stage starts only
    if its timeout plus `reserve` is left; for a stage with only its pool's timeout, half of that timeout is enough. The
    lease of a body that still runs when only `reserve` is left is released uncounted: the next invocation runs the
    stage with its whole time.

    `lease` gives the length of a lease in seconds from now. `on_body` is called before each body, `on_abandoned` when a
    body was abandoned and still occupies its thread: the process should not be reused.
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
        on_body: Callable[[Attempt], None] = lambda _attempt: None,
    ) -> None:
        self._kernel, self.worker_id, self._options = kernel, worker_id, options
        self._time_left, self._reserve = time_left, reserve
        self._lease, self._on_abandoned, self._on_body = lease, on_abandoned, on_body
        self._has_worked = False

    def handle_job(self, message: JobMessage) -> JobResult:
        """Runs the job of the message, then the stages that follow it in the same run while time is left.

        A job that cannot be claimed has a duplicate message, has ended, or belonged to a worker that died at a later
        stage. So its run is reconciled before the answer. Raises infrastructure errors, and `OutOfTime` when earlier
        messages of the invocation used up the time.
        """
        if self._has_worked:
            self._check_time(message)
        self._has_worked = True
        report = self._run(job_id=message.job_id, run_id=message.workflow_run_id)
        if isinstance(report, NoClaim):
            self._reconcile(message.workflow_run_id)
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
        """Dispatches a command of the scheduler. A command that finds nothing to do is a no-op.

        The run's events are published too: a poll may have ended the run, and no later invocation would publish them.
        """
        result = self._kernel.dispatch(command)
        run_id = command.get("workflow_run_id")
        if isinstance(run_id, str) and command.get("type") not in FLUSHING:
            self._kernel.dispatch(OutboxFlush(workflow_run_id=run_id))
        return result

    def notify_overdue(self) -> int:
        """Sends notifications for overdue jobs, whose own were lost. Gives their number.

        A full page of overdue jobs means a backlog. More messages would only make it longer, so none are sent.
        """
        overdue = self._kernel.overdue_jobs(PAGE, older_than=OVERDUE)
        if len(overdue) == PAGE:
            return 0
        self._kernel.deps.job_transport.notify(overdue)
        return len(overdue)

    def release_leases(self) -> int:
        """Releases all leases of this host, uncounted. Gives their number."""
        return self._kernel.dispatch(LeaseRelease(worker_ids=(self.worker_id,), uncounted=True))

    def _reconcile(self, run_id: str) -> None:
        """The message will be deleted, and another worker may hold the lease: a wake-up is scheduled for its end."""
        leased_until = self._kernel.dispatch(RunReconcile(workflow_run_id=run_id)).leased_until
        if leased_until is not None:
            schedule_wakeup(run_id, leased_until, self._kernel.deps)

    def _run(
        self, *, pools: tuple[str, ...] = (), job_id: str | None = None, run_id: str | None = None
    ) -> JobReport | NoClaim:
        with LeaseKeeper(
            self._kernel,
            self._options,
            lease=self._lease,
            must_leave=lambda: self._time_left() < self._reserve,
            on_abandoned=self._on_abandoned,
        ) as keeper:
            runner = JobRunner(
                self._kernel,
                keeper,
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
        needed = timeout if stage.timeout is not None else timeout * MIN_TIME_SHARE
        return self._time_left() >= needed + self._reserve
