"""The sequence of one job: claim, run, finish, and go on with the run's next stage while that makes sense."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from engine.definition.stage import Stage
from engine.hosts.heart import Heart
from engine.hosts.options import DEFAULTS, HostOptions
from engine.kernel.deliveries import Delivery, JobFinish, JobStart
from engine.kernel.kernel import Kernel
from engine.kernel.outcomes import Completed, Failed, Ghost, Outcome, Suspended
from engine.ports.persistence import NoClaim
from engine.ports.write_set import Lease


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
            self._on_body(delivery)
            outcome = self._heart.perform(delivery)
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
