"""One maintenance tick: does the work whose notification or wake-up was lost."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from engine.hosts.options import DEFAULTS, HostOptions
from engine.kernel.commands import LeaseReapStale, OutboxFlush, RunClaimPending, RunReapStuck, StagePollSuspended
from engine.kernel.kernel import Kernel

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TickResult:
    """The counts of one tick, and the names of the steps that failed."""

    claimed: int = 0
    suspended_checked: int = 0
    stale_released: int = 0
    events_flushed: int = 0
    stuck_reaped: int = 0
    errors: tuple[str, ...] = ()

    @property
    def did_something(self) -> bool:
        counts = (self.claimed, self.suspended_checked, self.stale_released, self.events_flushed, self.stuck_reaped)
        return any(counts)


def run_tick(kernel: Kernel, worker_id: str, options: HostOptions = DEFAULTS) -> TickResult:
    """Claims pending runs, polls suspended stages, reaps stale leases, flushes, reaps stuck runs: bounded steps."""

    def reap_stuck() -> int:
        reaped = kernel.dispatch(RunReapStuck(stuck_threshold=options.stuck, max_runs=options.max_stuck))
        return reaped.transitioned + reaped.failed + reaped.recovered

    steps: dict[str, Callable[[], int]] = {
        "claimed": lambda: len(
            kernel.dispatch(RunClaimPending(worker_id=worker_id, max_claims=options.max_claims)).claimed
        ),
        "suspended_checked": lambda: (
            kernel.dispatch(StagePollSuspended(max_checks=options.max_suspended_checks)).checked
        ),
        "stale_released": lambda: kernel.dispatch(LeaseReapStale()).released,
        "events_flushed": lambda: kernel.dispatch(OutboxFlush(max_events=options.max_outbox)).published,
        "stuck_reaped": reap_stuck,
    }
    counts: dict[str, int] = {}
    errors: list[str] = []
    for name, step in steps.items():
        try:
            counts[name] = step()
        except Exception as error:  # a step that fails must not stop the others
            logger.exception("maintenance step %s failed", name)
            errors.append(f"{name}: {type(error).__name__}: {error}")
    return TickResult(**counts, errors=tuple(errors))
