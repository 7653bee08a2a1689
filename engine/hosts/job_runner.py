"""The sequence of one job: claim, run, finish, and go on with the run's next stage while that makes sense."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from engine.definition.stage import Stage
from engine.domain.errors import DefinitionError, EngineError, SettingsError, StoreUnavailable
from engine.hosts.heart import Heart
from engine.hosts.options import DEFAULTS, HostOptions
from engine.kernel.deliveries import Delivery, JobFinish, JobRelease, JobStart
from engine.kernel.kernel import Kernel
from engine.kernel.outcomes import Completed, Failed, Ghost, Outcome, Suspended
from engine.ports.persistence import NoClaim
from engine.ports.write_set import Lease

logger = logging.getLogger(__name__)

FIRST_PUT_BACK, LONGEST_PUT_BACK = 5.0, 300.0
"""Seconds. The 20 deliveries that are not counted then last for more than an hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReport:
    """What one claim came to: the outcome of the last stage run under it, and how many there were."""

    workflow_run_id: str
    outcome: Literal["completed", "suspended", "failed", "ghost"]
    error: str | None = None
    stages: int = 1


class JobRunner:
    """`may_continue` is asked before a following stage is claimed along; `on_body` is told of each body before it
    runs."""

    def __init__(
        self,
        kernel: Kernel,
        heart: Heart,
        worker_id: str,
        options: HostOptions = DEFAULTS,
        *,
        may_continue: Callable[[Stage[Any, Any, Any]], bool] = lambda _stage: True,
        on_body: Callable[[Delivery], None] = lambda _delivery: None,
    ) -> None:
        self._kernel, self._heart, self._worker_id, self._options = kernel, heart, worker_id, options
        self._may_continue, self._on_body = may_continue, on_body

    def run(
        self, *, pools: tuple[str, ...] = (), job_id: str | None = None, run_id: str | None = None
    ) -> JobReport | NoClaim:
        """Claims one job and runs it, and what follows from it in the same run. `NoClaim` when there is none."""
        started = self._kernel.dispatch(
            JobStart(
                worker_id=self._worker_id,
                lease_seconds=self._heart.lease(),
                pools=pools,
                job_id=job_id,
                run_id=run_id,
            )
        )
        return started if isinstance(started, NoClaim) else self._work(started)

    def _work(self, delivery: Delivery) -> JobReport:
        stages = 1
        while True:
            try:
                self._on_body(delivery)
                outcome = self._heart.perform(delivery)
            except (StoreUnavailable, DefinitionError, SettingsError) as error:  # not the body's doing
                return self._put_back(delivery, error)
            finished = self._kernel.dispatch(
                JobFinish(
                    delivery=delivery,
                    outcome=outcome,
                    lease=self._lease() if stages < self._options.max_continued else None,
                    may_start=self._may_continue,
                )
            )
            if finished.next is None:
                return _report(delivery, finished.outcome, stages)
            delivery, stages = finished.next, stages + 1

    def _put_back(self, delivery: Delivery, error: EngineError) -> JobReport:
        """Uncounted, to be tried less and less often. The wake for it is armed, so its message has done its work."""
        job, why = delivery.claim.job, f"{type(error).__name__}: {error}"
        seconds = min(LONGEST_PUT_BACK, FIRST_PUT_BACK * 2 ** (job.attempt - 1))
        logger.error("job %s of run %s is put back for %g s: %s", job.id, job.workflow_run_id, seconds, why)
        self._kernel.dispatch(JobRelease(delivery=delivery, seconds=seconds, why=why))
        return JobReport(workflow_run_id=job.workflow_run_id, outcome="ghost", error=f"put back: {why}")

    def _lease(self) -> Lease:
        token = self._kernel.deps.ids.token()
        return Lease(worker_id=self._worker_id, token=token, seconds=self._heart.lease())


def _report(delivery: Delivery, outcome: Outcome | Ghost, stages: int) -> JobReport:
    run_id = delivery.claim.run.id
    match outcome:
        case Completed():
            return JobReport(workflow_run_id=run_id, outcome="completed", stages=stages)
        case Suspended():
            return JobReport(workflow_run_id=run_id, outcome="suspended", stages=stages)
        case Failed():
            return JobReport(workflow_run_id=run_id, outcome="failed", error=outcome.message, stages=stages)
        case Ghost():
            return JobReport(workflow_run_id=run_id, outcome="ghost", error=outcome.why, stages=stages)
