"""Worker slots in threads of this process: for tests, `engine run`, and bodies that release the interpreter lock."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol

from engine.execution.attempt import Attempt
from engine.hosts.backoff import Backoff
from engine.hosts.job_runner import JobReport, JobRunner
from engine.hosts.lease_keeper import LeaseKeeper
from engine.hosts.options import HostOptions
from engine.kernel.host_commands import LeaseRelease
from engine.kernel.kernel import Kernel
from engine.ports.persistence import NoClaim


class Notifications(Protocol):
    """Wakes waiting slots. Read `notification_count` before a claim and pass it to `wait`: then none is missed."""

    @property
    def notification_count(self) -> int: ...
    def wait(self, timeout: float, *, since: int | None = None) -> bool: ...
    def wake_all(self) -> None: ...


type Locks = Callable[[str], AbstractContextManager[object]]


def no_locks(_worker_id: str) -> AbstractContextManager[object]:
    return nullcontext()


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotConfig:
    """The configuration of a host's slots. `on_report` gets each job's report; `run_id` limits the slots to one run."""

    pools: tuple[str, ...]
    options: HostOptions
    on_report: Callable[[JobReport], None]
    run_id: str | None = None
    locks: Locks = no_locks
    stopping: threading.Event = field(default_factory=threading.Event)


class ThreadSlot:
    """Runs one job after the other in a thread."""

    def __init__(self, kernel: Kernel, notifications: Notifications, worker_id: str, config: SlotConfig) -> None:
        self.worker_id = worker_id
        self._kernel, self._notifications, self._config = kernel, notifications, config
        self._current: Attempt | None = None
        self._left_over = False  # a turn failed and may have left its job claimed
        self._thread = threading.Thread(target=self._run, name=worker_id, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout: float) -> bool:
        """True when the slot has ended."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def abandon(self) -> None:
        """Cancels the body. A thread cannot be killed: its lease is released, and its result will be a ghost."""
        if self._current is not None:
            self._current.cancellation.cancelled = True

    def _run(self) -> None:
        config = self._config
        backoff = Backoff(f"worker {self.worker_id}", config.options, config.stopping)
        with config.locks(self.worker_id), LeaseKeeper(self._kernel, config.options) as keeper:
            runner = JobRunner(
                self._kernel,
                keeper,
                self.worker_id,
                config.options,
                may_continue=lambda _stage: not config.stopping.is_set(),
                on_body=self._begin,
            )
            while not config.stopping.is_set():
                try:
                    if self._left_over:
                        self._kernel.dispatch(LeaseRelease(worker_ids=(self.worker_id,)))
                        self._left_over = False
                    self._turn(runner)
                    backoff.worked()
                except Exception as error:  # noqa: BLE001 - an unavailable database must not end the worker
                    self._left_over = True
                    backoff.failed(error)

    def _begin(self, attempt: Attempt) -> None:
        self._current = attempt

    def _turn(self, runner: JobRunner) -> None:
        seen = self._notifications.notification_count
        report = runner.run(pools=self._config.pools, run_id=self._config.run_id)
        self._current = None
        if isinstance(report, NoClaim):
            self._notifications.wait(self._config.options.job_poll, since=seen)
        else:
            self._config.on_report(report)
