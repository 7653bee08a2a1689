"""Renews the lease of one attempt at a time, from a thread of its own, while its body runs."""

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from engine.execution.attempt import Attempt
from engine.hosts.options import DEFAULTS, HostOptions
from engine.kernel.host_commands import JobHeartbeat, JobRelease, JobTimeout
from engine.kernel.kernel import Kernel
from engine.transitions.facts import Outcome

logger = logging.getLogger(__name__)

TIMEOUT_GRACE = 0.5


class LeaseKeeper:
    """Writes logs and progress, renews the lease, passes cancellation to the body, and enforces its timeout.

    The executor cancels an async body at its timeout. A sync body cannot be interrupted: the keeper fails its attempt,
    and a result that arrives later is a ghost. When `must_leave` is true, the host is about to end, and the keeper
    releases the lease uncounted instead. `on_abandoned` is called in both cases. `lease` gives the length of a lease
    in seconds from now.
    """

    def __init__(
        self,
        kernel: Kernel,
        options: HostOptions = DEFAULTS,
        *,
        lease: Callable[[], float] | None = None,
        must_leave: Callable[[], bool] = lambda: False,
        on_abandoned: Callable[[], None] = lambda: None,
    ) -> None:
        self._kernel, self._options = kernel, options
        self._must_leave, self._on_abandoned = must_leave, on_abandoned
        self.lease = lease or (lambda: options.lease)
        self._changed = threading.Condition()
        self._beating = threading.Lock()
        self._attempt: Attempt | None = None
        self._renew_at = self._look_at = self._end_at = 0.0
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="lease-keeper", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join()

    def perform(self, attempt: Attempt) -> Outcome:
        """Runs the body. No heartbeat of the attempt is in progress after it returns."""
        limit = self._kernel.timeout_of(attempt)
        now = time.monotonic()
        with self._changed:
            self._attempt = attempt
            self._renew_at = now + self._options.heartbeat
            self._look_at = now + self._options.cancel_check
            self._end_at = now + limit + TIMEOUT_GRACE if limit is not None else float("inf")
        try:
            return self._kernel.perform(attempt)
        finally:
            with self._beating, self._changed:
                self._attempt = None

    def _run(self) -> None:
        while not self._stopped:
            with self._changed:
                if not self._stopped:  # checked under the lock: a notify before the wait would be lost
                    self._changed.wait(self._options.flush)
            with self._beating:
                if self._attempt is not None and not self._stopped:
                    self._beat(self._attempt)

    def _beat(self, attempt: Attempt) -> None:
        now = time.monotonic()
        try:
            if now >= self._end_at:
                self._time_out(attempt)
            elif self._must_leave():
                self._release_lease(attempt)
            elif now >= self._renew_at or attempt.recorder.has_unwritten:
                self._kernel.dispatch(JobHeartbeat(attempt=attempt, lease_seconds=self.lease()))
                self._renew_at = now + self._options.heartbeat
                self._look_at = now + self._options.cancel_check
            elif now >= self._look_at:
                self._look_at = now + self._options.cancel_check
                attempt.cancellation.cancelled |= self._kernel.is_unwanted(attempt)
        except Exception:  # a failed heartbeat is tried again; the lease outlasts several
            logger.exception("heartbeat of job %s failed", attempt.claim.job.id)

    def _time_out(self, attempt: Attempt) -> None:
        job, limit = attempt.claim.job, self._kernel.timeout_of(attempt) or 0.0
        timeout = JobTimeout(
            workflow_run_id=job.workflow_run_id, job_id=job.id, lease_token=attempt.token, seconds=limit
        )
        attempt.cancellation.cancelled = True
        self._end_at = float("inf")
        if self._kernel.dispatch(timeout):
            self._on_abandoned()

    def _release_lease(self, attempt: Attempt) -> None:
        """The lease is released before the body is cancelled: a cancelled body would fail its stage."""
        if self._kernel.dispatch(JobRelease(attempt=attempt)):
            attempt.cancellation.cancelled = True
            self._on_abandoned()
