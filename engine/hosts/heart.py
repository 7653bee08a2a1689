"""Keeps one delivery at a time alive while its body runs, from a thread of its own."""

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from engine.hosts.options import DEFAULTS, HostOptions
from engine.kernel.deliveries import Delivery, JobHeartbeat, JobRelease, JobTimeout
from engine.kernel.kernel import Kernel
from engine.kernel.outcomes import Outcome

logger = logging.getLogger(__name__)

TIMEOUT_GRACE = 0.5


class Heart:
    """Writes logs and progress, renews the lease, brings cancellation to the body, ends it when its time is up.

    An async body is cancelled by its executor in time. A sync one cannot be interrupted: its delivery is failed here,
    so that whatever it returns later is a ghost. When `must_leave` says that the host has to go, the delivery is handed
    back instead. `on_abandoned` is told of both. `lease` gives the seconds a lease shall last from now.
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
        self._delivery: Delivery | None = None
        self._renew_at = self._look_at = self._end_at = 0.0
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="heart", daemon=True)

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

    def perform(self, delivery: Delivery) -> Outcome:
        """Runs the body. When it returns, no heartbeat of it is under way any more."""
        limit = self._kernel.timeout_of(delivery)
        now = time.monotonic()
        with self._changed:
            self._delivery = delivery
            self._renew_at = now + self._options.heartbeat
            self._look_at = now + self._options.cancel_check
            self._end_at = now + limit + TIMEOUT_GRACE if limit is not None else float("inf")
        try:
            return self._kernel.perform(delivery)
        finally:
            with self._beating, self._changed:
                self._delivery = None

    def _run(self) -> None:
        while not self._stopped:
            with self._changed:
                if not self._stopped:  # asked under the lock: a notification before the wait would be missed
                    self._changed.wait(self._options.flush)
            with self._beating:
                if self._delivery is not None and not self._stopped:
                    self._beat(self._delivery)

    def _beat(self, delivery: Delivery) -> None:
        now = time.monotonic()
        try:
            if now >= self._end_at:
                self._time_out(delivery)
            elif self._must_leave():
                self._hand_back(delivery)
            elif now >= self._renew_at or delivery.recorder.has_news:
                self._kernel.dispatch(JobHeartbeat(delivery=delivery, lease_seconds=self.lease()))
                self._renew_at = now + self._options.heartbeat
                self._look_at = now + self._options.cancel_check
            elif now >= self._look_at:
                self._look_at = now + self._options.cancel_check
                delivery.cancellation.cancelled |= self._kernel.is_unwanted(delivery)
        except Exception:  # a heartbeat that fails is tried again; the lease outlasts several
            logger.exception("heartbeat of job %s failed", delivery.claim.job.id)

    def _time_out(self, delivery: Delivery) -> None:
        job, limit = delivery.claim.job, self._kernel.timeout_of(delivery) or 0.0
        timeout = JobTimeout(
            workflow_run_id=job.workflow_run_id, job_id=job.id, lease_token=delivery.token, seconds=limit
        )
        delivery.cancellation.cancelled = True
        self._end_at = float("inf")
        if self._kernel.dispatch(timeout):
            self._on_abandoned()

    def _hand_back(self, delivery: Delivery) -> None:
        """Before the body is told to stop: one that obeys would fail its stage."""
        if self._kernel.dispatch(JobRelease(delivery=delivery)):
            delivery.cancellation.cancelled = True
            self._on_abandoned()
