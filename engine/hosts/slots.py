"""Worker slots in threads of this process: for tests, `engine run`, and bodies that give up the interpreter."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol

from engine.hosts.backoff import Backoff
from engine.hosts.heart import Heart
from engine.hosts.job_runner import JobReport, JobRunner
from engine.hosts.options import HostOptions
from engine.kernel.deliveries import Delivery, LeaseRelease
from engine.kernel.kernel import Kernel
from engine.ports.persistence import NoClaim


class Doorbells(Protocol):
    """Wakes waiting slots. `rings` read before looking for work makes `wait` miss nothing."""

    @property
    def rings(self) -> int: ...
    def wait(self, timeout: float, *, since: int | None = None) -> bool: ...
    def wake_all(self) -> None: ...


type Locks = Callable[[str], AbstractContextManager[object]]


def no_locks(_worker_id: str) -> AbstractContextManager[object]:
    return nullcontext()


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """What slots work on, and whom they tell of each job done. `run_id` keeps them to one run."""

    pools: tuple[str, ...]
    options: HostOptions
    on_report: Callable[[JobReport], None]
    run_id: str | None = None
    locks: Locks = no_locks
    stopping: threading.Event = field(default_factory=threading.Event)


class ThreadSlot:
    """Takes one job after the other in a thread."""

    def __init__(self, kernel: Kernel, doorbells: Doorbells, worker_id: str, duty: Duty) -> None:
        self.worker_id = worker_id
        self._kernel, self._doorbells, self._duty = kernel, doorbells, duty
        self._current: Delivery | None = None
        self._left_over = False  # a turn failed, and may have left its job claimed
        self._thread = threading.Thread(target=self._run, name=worker_id, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout: float) -> bool:
        """True when the slot has ended."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def abandon(self) -> None:
        """Tells the body to stop. A thread cannot be ended: its job is handed back and its result will be a ghost."""
        if self._current is not None:
            self._current.cancellation.cancelled = True

    def _run(self) -> None:
        duty = self._duty
        backoff = Backoff(f"worker {self.worker_id}", duty.options, duty.stopping)
        with duty.locks(self.worker_id), Heart(self._kernel, duty.options) as heart:
            runner = JobRunner(
                self._kernel,
                heart,
                self.worker_id,
                duty.options,
                may_continue=lambda _stage: not duty.stopping.is_set(),
                on_body=self._begin,
            )
            while not duty.stopping.is_set():
                try:
                    if self._left_over:
                        self._kernel.dispatch(LeaseRelease(worker_ids=(self.worker_id,)))
                        self._left_over = False
                    self._turn(runner)
                    backoff.worked()
                except Exception as error:  # noqa: BLE001 - a database that is away must not end the worker
                    self._left_over = True
                    backoff.failed(error)

    def _begin(self, delivery: Delivery) -> None:
        self._current = delivery

    def _turn(self, runner: JobRunner) -> None:
        rings = self._doorbells.rings
        report = runner.run(pools=self._duty.pools, run_id=self._duty.run_id)
        self._current = None
        if isinstance(report, NoClaim):
            self._doorbells.wait(self._duty.options.job_poll, since=rings)
        else:
            self._duty.on_report(report)
