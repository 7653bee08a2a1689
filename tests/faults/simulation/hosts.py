"""The hosts of the simulation: the engine's own sequences, with a keeper whose thread the scheduler moves."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Self

from engine.domain.errors import RerunRefused, StaleVersionError, StoreUnavailable
from engine.execution.attempt import Attempt
from engine.hosts.job_runner import JobReport, JobRunner
from engine.hosts.lease_keeper import LeaseKeeper
from engine.hosts.serverless import JobMessage, ServerlessHost
from engine.kernel.commands import OutboxFlush
from engine.kernel.host_commands import LeaseRelease
from engine.ports.job_transport import JobNotification
from engine.ports.persistence import NoClaim
from engine.transitions.facts import Outcome
from tests.faults.simulation.faults import HEARTBEAT
from tests.faults.simulation.queue import Message
from tests.faults.simulation.sometimes import State
from tests.faults.simulation.workflows import POOLS

if TYPE_CHECKING:
    from tests.faults.simulation.world import World

TURNS = 3
"""Jobs that a polling worker takes before it rests."""


class _CooperativeLock:
    """A lock whose waiters let the others go on."""

    def __init__(self, world: "World") -> None:
        self._world, self._is_held = world, False

    def __enter__(self) -> None:
        if self._is_held:
            self._world.wait_until(lambda: not self._is_held)
        self._is_held = True

    def __exit__(self, *_error: object) -> None:
        self._is_held = False


class SimulatedKeeper(LeaseKeeper):
    """The real keeper of leases. Its thread is a process of the simulation, and what it finds due is drawn."""

    def __init__(self, world: "World", worker_id: str) -> None:
        super().__init__(world.kernel, must_leave=lambda: self._leaves)
        self._world, self._worker_id, self._leaves = world, worker_id, False
        self._beating: Any = _CooperativeLock(world)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        """No thread is to be joined."""

    def perform(self, attempt: Attempt) -> Outcome:
        assert self._world.current is not None
        self._world.spawn("keeper", lambda _name: self._keep(attempt), self._world.current.machine)
        return super().perform(attempt)

    def _keep(self, attempt: Attempt) -> None:
        while True:
            self._world.pause(HEARTBEAT)
            with self._beating:
                if self._attempt is not attempt:
                    return
                self._make_due()
                self._beat(attempt)

    def _make_due(self) -> None:
        """Draws what the keeper finds: a renewal, a look at the run, a body past its time, or an end that is near."""
        never = float("inf")
        self._renew_at = self._look_at = self._end_at = never
        calm = self._world.is_calm
        match self._world.choices.weighted((6, 2, 0 if calm else 1, 0 if calm else 1)):
            case 0:
                self._renew_at = 0.0
            case 1:
                self._look_at = 0.0
            case 2:
                self._end_at = 0.0
            case _:
                self._leaves = True


class SimulatedHost(ServerlessHost):
    """The real host of one invocation, with the simulated keeper."""

    def __init__(self, world: "World", worker_id: str) -> None:
        super().__init__(world.kernel, worker_id=worker_id)
        self._world = world

    def _run(
        self, *, pools: tuple[str, ...] = (), job_id: str | None = None, run_id: str | None = None
    ) -> JobReport | NoClaim:
        with SimulatedKeeper(self._world, self.worker_id) as keeper:
            runner = JobRunner(self._kernel, keeper, self.worker_id, self._options)
            report = runner.run(pools=pools, job_id=job_id, run_id=run_id)
        if not isinstance(report, NoClaim):
            self._kernel.dispatch(OutboxFlush(workflow_run_id=report.workflow_run_id))
        return report


def handle_job(world: "World", message: Message[JobNotification], receipt: int) -> Callable[[str], None]:
    """An invocation for one job message: deleted when it is handled, hidden for a while when that failed."""

    def invocation(worker_id: str) -> None:
        host, each = SimulatedHost(world, worker_id), message.body
        try:
            host.handle_job(
                JobMessage(
                    job_id=each.job_id,
                    workflow_run_id=each.workflow_run_id,
                    workflow_id=each.workflow_id,
                    stage_id=each.stage_id,
                )
            )
        except StoreUnavailable:
            world.jobs.give_back(message, receipt, world.clock.now())
        else:
            world.jobs.acknowledge(message, receipt)

    return invocation


def handle_wake(world: "World", message: Message[Mapping[str, Any]], receipt: int) -> Callable[[str], None]:
    def invocation(worker_id: str) -> None:
        try:
            SimulatedHost(world, worker_id).handle_wake(message.body)
        except StoreUnavailable:
            world.wakes.give_back(message, receipt, world.clock.now())
        else:
            world.wakes.acknowledge(message, receipt)

    return invocation


def poll_for_jobs(world: "World") -> Callable[[str], None]:
    """A worker slot, as the long-running host has it: after an error it first releases what it may hold."""

    def slot(worker_id: str) -> None:
        keeper, left_over = SimulatedKeeper(world, worker_id), False
        runner = JobRunner(world.kernel, keeper, worker_id)
        for _ in range(TURNS):
            try:
                if left_over:
                    world.kernel.dispatch(LeaseRelease(worker_ids=(worker_id,)))
                    left_over = False
                report = runner.run(pools=POOLS)
                if isinstance(report, NoClaim):
                    return
                world.kernel.dispatch(OutboxFlush(workflow_run_id=report.workflow_run_id))
            except StoreUnavailable:
                left_over = True

    return slot


def tick(world: "World") -> Callable[[str], None]:
    """Maintenance, as a schedule invokes it."""

    def invocation(worker_id: str) -> None:
        host = SimulatedHost(world, worker_id)
        errors = host.run_maintenance_tick().errors
        unexpected = [error for error in errors if "StoreUnavailable" not in error]
        if unexpected:
            world.fail(f"a maintenance tick failed: {unexpected}")
        if quietly(host.notify_overdue):
            world.reached(State.OVERDUE_NOTIFIED)

    return invocation


def flush(world: "World") -> Callable[[str], None]:
    def call(_name: str) -> None:
        quietly(lambda: world.kernel.dispatch(OutboxFlush()))

    return call


def quietly[T](call: Callable[[], T]) -> T | None:
    """The answer, or None for the errors that a caller must expect here."""
    try:
        return call()
    except (StoreUnavailable, RerunRefused, StaleVersionError):
        return None
