"""A long-running host, for a container or a laptop.

Slots run bodies. One more thread runs the maintenance tick, dispatches timers and publishes events, so a long body
delays none of them. The race is in `stop`: a body that is cancelled raises an error, and its slot would commit this
error as the outcome of the stage. So the leases of late bodies are released first, uncounted. Their tokens are then
invalid, the late finish is refused as a ghost, and another worker runs the stage again."""

import logging
import os
import queue
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import FrameType, TracebackType
from typing import Any, Protocol, Self

from engine.domain.errors import EngineError
from engine.hosts.backoff import Backoff
from engine.hosts.child import KernelFactory
from engine.hosts.job_runner import JobReport
from engine.hosts.maintenance import run_tick
from engine.hosts.options import DEFAULTS, HostOptions
from engine.hosts.process_slots import ProcessSlot
from engine.hosts.slots import Locks, Notifications, SlotConfig, ThreadSlot, no_locks
from engine.kernel.commands import OutboxFlush, RunReconcile
from engine.kernel.host_commands import LeaseRelease
from engine.kernel.kernel import Kernel

logger = logging.getLogger(__name__)


LONGEST_SLEEP = 0.25
"""The longest time in seconds between two checks of the timers."""


class Timers(Protocol):
    """Wake-ups that were scheduled in this process."""

    def take_due(self, now: datetime) -> Sequence[Mapping[str, Any]]: ...
    def next_at(self) -> datetime | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStats:
    worker_id: str
    jobs_processed: int
    orchestration_ticks: int
    is_running: bool
    uptime: float
    """Seconds since start."""


class WorkerHost:
    """Runs jobs in `slots` worker slots, and runs maintenance.

    With `factory` each slot is a child process with its own kernel: a body that holds the interpreter lock loses no
    lease, and a sync body past its timeout can be killed. Without it slots are threads of this process. `run_id` limits
    the host to one run. `locks` gives the lock that a slot holds while it lives. `recover` releases the leases of dead
    workers; each tick calls it.
    """

    def __init__(
        self,
        kernel: Kernel,
        *,
        notifications: Notifications,
        timers: Timers,
        slots: int = 1,
        pools: tuple[str, ...] = ("default",),
        run_id: str | None = None,
        worker_id: str | None = None,
        factory: KernelFactory | None = None,
        locks: Locks = no_locks,
        recover: Callable[[], object] = lambda: None,
        options: HostOptions = DEFAULTS,
    ) -> None:
        self.worker_id = worker_id or f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._kernel, self._notifications, self._timers, self._options = kernel, notifications, timers, options
        self._recover = recover
        self._config = SlotConfig(pools=pools, options=options, on_report=self._report, run_id=run_id, locks=locks)
        self._slots = [self._slot(number, factory) for number in range(1, slots + 1)]
        self._orchestration = threading.Thread(target=self._orchestrate, name="orchestration", daemon=True)
        self._to_flush: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._jobs = self._ticks = 0
        self._started_at = 0.0

    def start(self) -> None:
        """Starts the threads, or child processes, and returns. A host can be started once."""
        if self._started_at:
            raise EngineError("this worker host was started before; make a new one")
        self._started_at = time.monotonic()
        self._orchestration.start()
        for slot in self._slots:
            slot.start()

    def stop(self, grace: float = 30.0) -> bool:
        """Waits `grace` seconds for running bodies, then releases the leases of the rest. True when all had ended."""
        self._config.stopping.set()
        self._to_flush.put(None)
        self._notifications.wake_all()
        end = time.monotonic() + grace
        late = [slot for slot in self._slots if not slot.join(max(0.0, end - time.monotonic()))]
        if late:
            # Before `abandon` cancels the bodies, so that the error of a cancelled body is refused as a ghost.
            self._kernel.dispatch(LeaseRelease(worker_ids=tuple(slot.worker_id for slot in late), uncounted=True))
        for slot in late:
            slot.abandon()
            slot.join(1.0)
        self._orchestration.join(max(1.0, end - time.monotonic()))
        return not late

    def get_stats(self) -> WorkerStats:
        return WorkerStats(
            worker_id=self.worker_id,
            jobs_processed=self._jobs,
            orchestration_ticks=self._ticks,
            is_running=self._orchestration.is_alive() and not self._config.stopping.is_set(),
            uptime=time.monotonic() - self._started_at if self._started_at else 0.0,
        )

    def run_until_signalled(self, grace: float = 30.0) -> bool:
        """Starts, waits for SIGTERM or SIGINT, and stops. Call it in the main thread. Gives the result of `stop`."""
        signalled = threading.Event()

        def on_signal(_number: int, _frame: FrameType | None) -> None:
            signalled.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, on_signal)
        self.start()
        signalled.wait()
        return self.stop(grace)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _slot(self, number: int, factory: KernelFactory | None) -> ThreadSlot | ProcessSlot:
        worker_id = f"{self.worker_id}.{number}"
        if factory is None:
            return ThreadSlot(self._kernel, self._notifications, worker_id, self._config)
        return ProcessSlot(self._kernel, self._notifications, worker_id, self._config, factory)

    def _report(self, report: JobReport) -> None:
        self._jobs += 1
        self._to_flush.put(report.workflow_run_id)

    def _orchestrate(self) -> None:
        backoff = Backoff("orchestration", self._options, self._config.stopping)
        next_tick = time.monotonic()
        while not self._config.stopping.is_set():
            try:
                if time.monotonic() >= next_tick:
                    next_tick = time.monotonic() + self._options.orchestration
                    self._tick()
                self._fire_timers()
                self._flush(self._sleep(next_tick))
                backoff.worked()
            except Exception as error:  # noqa: BLE001 - an unavailable database must not end the thread
                backoff.failed(error)
        self._last_flush()

    def _tick(self) -> None:
        self._ticks += 1
        self._recover()
        if self._config.run_id is not None:
            self._kernel.dispatch(RunReconcile(workflow_run_id=self._config.run_id))
        else:
            run_tick(self._kernel, self.worker_id, self._options)

    def _fire_timers(self) -> None:
        for command in self._timers.take_due(self._kernel.deps.clock.now()):
            self._kernel.dispatch(command)

    def _sleep(self, next_tick: float) -> str | None:
        """Waits for the next tick or timer, or a run with events; gives that run."""
        timer = self._timers.next_at()
        wait = next_tick - time.monotonic()
        if timer is not None:
            wait = min(wait, (timer - self._kernel.deps.clock.now()).total_seconds())
        try:
            return self._to_flush.get(timeout=min(max(wait, 0.0), LONGEST_SLEEP))
        except queue.Empty:
            return None

    def _flush(self, run_id: str | None) -> None:
        runs = {run_id} if run_id else set()
        while not self._to_flush.empty():
            if (another := self._to_flush.get()) is not None:
                runs.add(another)
        for each in runs:
            self._kernel.dispatch(OutboxFlush(workflow_run_id=each))

    def _last_flush(self) -> None:
        try:
            self._flush(None)
        except Exception:  # the next host publishes the remaining events
            logger.exception("the last flush failed")
