"""The parent's side of a slot in a child process: doorbells in, leases kept, time enforced, deaths noticed."""

import logging
import multiprocessing
import threading
import time
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from engine.hosts.backoff import Backoff
from engine.hosts.child import Busy, ChildDuty, Idle, KernelFactory, Ring, Stop, Wake, Work, child_main
from engine.hosts.heart import TIMEOUT_GRACE
from engine.hosts.job_runner import JobReport
from engine.hosts.slots import Doorbells, Duty
from engine.kernel.deliveries import JobTimeout, LeaseRelease
from engine.kernel.kernel import Kernel

logger = logging.getLogger(__name__)

PATIENCE = 0.25
"""Seconds between looks at a child that says nothing."""


class ProcessSlot:
    """One child process that takes jobs, and the thread that watches it."""

    def __init__(
        self, kernel: Kernel, doorbells: Doorbells, worker_id: str, duty: Duty, factory: KernelFactory
    ) -> None:
        self.worker_id = worker_id
        self._kernel, self._doorbells, self._duty, self._factory = kernel, doorbells, duty, factory
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
        """Ends the child whatever it does."""
        if self._process is not None:
            self._process.kill()

    def _run(self) -> None:
        backoff = Backoff(f"worker {self.worker_id}", self._duty.options, self._duty.stopping)
        while not self._duty.stopping.is_set():
            try:
                self._live()
                backoff.worked()
            except Exception as error:  # noqa: BLE001 - a child that died is replaced, whatever came of its job
                backoff.failed(error)

    def _live(self) -> None:
        """The life of one child. Raises when it dies uninvited."""
        self._kernel.dispatch(LeaseRelease(worker_ids=(self.worker_id,)))  # an earlier child's, if it left any
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        duty = ChildDuty(
            worker_id=self.worker_id,
            pools=self._duty.pools,
            run_id=self._duty.run_id,
            options=self._duty.options,
            locks=self._duty.locks,
            factory=self._factory,
        )
        self._process = context.Process(target=child_main, args=(theirs, duty), name=self.worker_id, daemon=True)
        self._process.start()
        theirs.close()
        try:
            self._converse(ours)
        except (EOFError, OSError) as error:
            self._process.join()
            released = self._kernel.dispatch(LeaseRelease(worker_ids=(self.worker_id,)))
            if not self._duty.stopping.is_set():
                raise ChildDied(self._process.exitcode, released) from error
        finally:
            self._busy = None
            ours.close()
            self._process.join()

    def _converse(self, child: Connection) -> None:
        told_to_stop = False
        while True:
            rings = self._doorbells.rings
            child.send(Work())
            while not isinstance(self._hear(child), Idle):
                if self._duty.stopping.is_set() and not told_to_stop:
                    child.send(Stop())
                    told_to_stop = True
            if self._duty.stopping.is_set():
                child.send(Stop())
                return
            self._doorbells.wait(self._duty.options.job_poll, since=rings)

    def _hear(self, child: Connection) -> object:
        if not child.poll(PATIENCE):
            self._watch()
            return None
        word = child.recv()
        match word:
            case Busy():
                self._begin(word)
            case JobReport():
                self._busy = None
                self._duty.on_report(word)
            case Ring():
                self._kernel.deps.job_transport.notify(word.doorbells)
            case Wake():
                self._kernel.deps.scheduler.wake(word.command, word.at)
            case _:
                pass
        return word

    def _begin(self, busy: Busy) -> None:
        now = time.monotonic()
        self._busy = busy
        self._renew_at = now + self._duty.options.heartbeat
        self._end_at = now + busy.timeout + 2 * TIMEOUT_GRACE if busy.timeout is not None else float("inf")

    def _watch(self) -> None:
        """Keeps the lease of a body that gives its own heart no chance, and ends one that runs past its time."""
        busy, now = self._busy, time.monotonic()
        if busy is None:
            return
        if now >= self._end_at and self._process is not None:
            logger.error("job %s ran longer than %s s; its process is ended", busy.job_id, busy.timeout)
            self._process.kill()
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
            self._renew_at = now + self._duty.options.heartbeat
            lease = self._duty.options.lease
            self._kernel.deps.persistence.transact(lambda tx: tx.jobs.renew(busy.job_id, busy.lease_token, lease))


class ChildDied(Exception):
    """A worker process ended uninvited."""

    def __init__(self, exitcode: int | None, released: int) -> None:
        super().__init__(f"its process ended with code {exitcode}; {released} jobs were taken back")
