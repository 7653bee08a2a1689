"""Runs one job: claim, perform, finish; then continues with the run's next stage under the same claim."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from engine.definition.stage import Stage
from engine.domain.errors import DefinitionError, EngineError, SettingsError, StoreUnavailable
from engine.execution.attempt import Attempt
from engine.hosts.lease_keeper import LeaseKeeper
from engine.hosts.options import DEFAULTS, HostOptions
from engine.kernel.host_commands import JobFinish, JobRelease, JobStart
from engine.kernel.kernel import Kernel
from engine.ports.persistence import Lease, NoClaim
from engine.transitions.facts import Completed, Failed, Ghost, Outcome, Suspended

logger = logging.getLogger(__name__)

FIRST_RETRY_DELAY, LONGEST_RETRY_DELAY = 5.0, 300.0
"""Seconds. With these delays the 20 uncounted attempts last for more than an hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReport:
    """The result of one claim: the outcome of the last stage that ran under it, and the number of stages."""

    workflow_run_id: str
    outcome: Literal["completed", "suspended", "failed", "ghost"]
    error: str | None = None
    stages: int = 1


class JobRunner:
    """Claims and runs jobs for one worker.

    `may_continue` decides whether the next stage of the run is claimed too. `on_body` is called before each body.
    """

    def __init__(
        self,
        kernel: Kernel,
        keeper: LeaseKeeper,
        worker_id: str,
        options: HostOptions = DEFAULTS,
        *,
        may_continue: Callable[[Stage[Any, Any, Any]], bool] = lambda _stage: True,
        on_body: Callable[[Attempt], None] = lambda _attempt: None,
    ) -> None:
        self._kernel, self._keeper, self._worker_id, self._options = kernel, keeper, worker_id, options
        self._may_continue, self._on_body = may_continue, on_body

    def run(
        self, *, pools: tuple[str, ...] = (), job_id: str | None = None, run_id: str | None = None
    ) -> JobReport | NoClaim:
        """Claims and runs one job, then the stages that follow it in the same run. `NoClaim` when no job is due."""
        started = self._kernel.dispatch(
            JobStart(
                worker_id=self._worker_id,
                lease_seconds=self._keeper.lease(),
                pools=pools,
                job_id=job_id,
                run_id=run_id,
            )
        )
        return started if isinstance(started, NoClaim) else self._work(started)

    def _work(self, attempt: Attempt) -> JobReport:
        stages = 1
        while True:
            try:
                self._on_body(attempt)
                outcome = self._keeper.perform(attempt)
            except (StoreUnavailable, DefinitionError, SettingsError) as error:  # not a fault of the body
                return self._release_lease(attempt, error)
            finished = self._kernel.dispatch(
                JobFinish(
                    attempt=attempt,
                    outcome=outcome,
                    lease=self._lease() if stages < self._options.max_continued else None,
                    may_start=self._may_continue,
                )
            )
            if finished.next is None:
                return _report(attempt, finished.outcome, stages)
            attempt, stages = finished.next, stages + 1

    def _release_lease(self, attempt: Attempt, error: EngineError) -> JobReport:
        """Releases the lease uncounted, with a growing delay. A scheduled wake-up replaces the message."""
        job, reason = attempt.claim.job, f"{type(error).__name__}: {error}"
        seconds = min(LONGEST_RETRY_DELAY, FIRST_RETRY_DELAY * 2 ** (job.attempt - 1))
        logger.error(
            "job %s of run %s is released and due again in %g s: %s", job.id, job.workflow_run_id, seconds, reason
        )
        self._kernel.dispatch(JobRelease(attempt=attempt, seconds=seconds, reason=reason))
        return JobReport(workflow_run_id=job.workflow_run_id, outcome="ghost", error=f"lease released: {reason}")

    def _lease(self) -> Lease:
        token = self._kernel.deps.ids.token()
        return Lease(worker_id=self._worker_id, token=token, seconds=self._keeper.lease())


def _report(attempt: Attempt, outcome: Outcome | Ghost, stages: int) -> JobReport:
    run_id = attempt.claim.run.id
    match outcome:
        case Completed():
            return JobReport(workflow_run_id=run_id, outcome="completed", stages=stages)
        case Suspended():
            return JobReport(workflow_run_id=run_id, outcome="suspended", stages=stages)
        case Failed():
            return JobReport(workflow_run_id=run_id, outcome="failed", error=outcome.message, stages=stages)
        case Ghost():
            return JobReport(workflow_run_id=run_id, outcome="ghost", error=outcome.why, stages=stages)
