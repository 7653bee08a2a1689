"""The parent's side of a slot in a child process: forwards work, renews leases, enforces timeouts, notices deaths."""

import atexit
import logging
import multiprocessing
import os
import signal
import threading
import time
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from engine.hosts.backoff import Backoff
from engine.hosts.child import Busy, ChildSlotConfig, Idle, KernelFactory, Notify, Stop, Wake, Work, child_main
from engine.hosts.job_runner import JobReport
from engine.hosts.lease_keeper import TIMEOUT_GRACE
from engine.hosts.slots import Notifications, SlotConfig
from engine.kernel.host_commands import JobTimeout, LeaseRelease, LeaseRenewal
from engine.kernel.kernel import Kernel

logger = logging.getLogger(__name__)

PATIENCE = 0.25
"""Seconds between two checks of a silent child."""


class ProcessSlot:
    """One child process that takes jobs, and the thread that watches it."""

    def __init__(
        self, kernel: Kernel, notifications: Notifications, worker_id: str, config: SlotConfig, factory: KernelFactory
    ) -> None:
        self.worker_id = worker_id
        self._kernel, self._notifications, self._config, self._factory = kernel, notifications, config, factory
        self.backoff = Backoff(f"worker {worker_id}", config.options, config.stopping)
        self._process: BaseProcess | None = None
        self._busy: Busy | None = None
        self._renew_at = self._end_at = 0.0
        self._thread = threading.Thread(target=self._run, name=worker_id, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout: float) -> bool:
        """True when the slot has ended."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def abandon(self) -> None:
        """Kills the child, and the processes that its body has started."""
        if self._process is not None and self._process.is_alive():
            _kill_group(self._process)

    def _run(self) -> None:
        # The interpreter waits for child processes that are not daemons. `stop` was not called if one is left then.
        atexit.register(self.abandon)
        while not self._config.stopping.is_set():
            try:
                self._live()
            except Exception as error:  # noqa: BLE001 - a dead child is replaced
                self.backoff.failed(error)
        atexit.unregister(self.abandon)

    def _live(self) -> None:
        """Runs one child to its end. Raises `ChildDied` when it dies without a `Stop`."""
        self._kernel.dispatch(LeaseRelease(worker_ids=(self.worker_id,)))  # leases that an earlier child left
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        config = ChildSlotConfig(
            worker_id=self.worker_id,
            pools=self._config.pools,
            run_id=self._config.run_id,
            options=self._config.options,
            locks=self._config.locks,
            factory=self._factory,
        )
        # Not a daemon: daemons may not have child processes, and bodies use process pools.
        self._process = context.Process(target=child_main, args=(theirs, config), name=self.worker_id, daemon=False)
        self._process.start()
        theirs.close()
        try:
            self._converse(ours)
        except (EOFError, OSError) as error:
            self._process.join()
            released = self._kernel.dispatch(LeaseRelease(worker_ids=(self.worker_id,)))
            if not self._config.stopping.is_set():
                raise ChildDied(self._process.exitcode, released) from error
        finally:
            self._busy = None
            ours.close()
            self._process.join()

    def _converse(self, child: Connection) -> None:
        told_to_stop = False
        while True:
            seen = self._notifications.notification_count
            child.send(Work())
            while not isinstance(self.receive(child), Idle):
                if self._config.stopping.is_set() and not told_to_stop:
                    child.send(Stop())
                    told_to_stop = True
            if self._config.stopping.is_set():
                child.send(Stop())
                return
            self._notifications.wait(self._config.options.job_poll, since=seen)

    def receive(self, child: Connection) -> object:
        """Handles a message of the child and gives it; None if the child is silent."""
        if not child.poll(PATIENCE):
            self._watch()
            return None
        word = child.recv()
        match word:
            case Busy():
                self._begin(word)
            case JobReport():
                self._busy = None
                self.backoff.worked()
                self._config.on_report(word)
            case Idle():
                self.backoff.worked()
            case Notify():
                self._kernel.deps.job_transport.notify(word.notifications)
            case Wake():
                self._kernel.deps.scheduler.wake(word.command, word.at)
            case _:
                pass
        return word

    def _begin(self, busy: Busy) -> None:
        now = time.monotonic()
        self._busy = busy
        self._renew_at = now + self._config.options.heartbeat
        self._end_at = now + busy.timeout + 2 * TIMEOUT_GRACE if busy.timeout is not None else float("inf")

    def _watch(self) -> None:
        """Renews the lease for a body that blocks the child's lease keeper, and kills a child past its timeout."""
        busy, now = self._busy, time.monotonic()
        if busy is None:
            return
        if now >= self._end_at and self._process is not None:
            logger.error("job %s ran longer than %s s; its process is ended", busy.job_id, busy.timeout)
            self.abandon()
            self._process.join()
            self._kernel.dispatch(
                JobTimeout(
                    workflow_run_id=busy.workflow_run_id,
                    job_id=busy.job_id,
                    lease_token=busy.lease_token,
                    seconds=busy.timeout or 0.0,
                )
            )
        elif now >= self._renew_at:
            self._renew_at = now + self._config.options.heartbeat
            self._kernel.dispatch(
                LeaseRenewal(
                    workflow_run_id=busy.workflow_run_id,
                    job_id=busy.job_id,
                    lease_token=busy.lease_token,
                    lease_seconds=self._config.options.lease,
                )
            )


def _kill_group(process: BaseProcess) -> None:
    """Kills a child and its process group. The child has no group of its own in its first moments."""
    assert process.pid is not None, "the process was started"
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        process.kill()


class ChildDied(Exception):
    """A worker process died without a `Stop`."""

    def __init__(self, exitcode: int | None, released: int) -> None:
        super().__init__(f"its process ended with code {exitcode}; {released} leases were released")
