"""A worker slot in a process of its own: what runs in the child, and the words it exchanges with its parent."""

import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from multiprocessing.connection import Connection
from typing import Any

from engine.domain.stored_value import Json
from engine.hosts.heart import Heart
from engine.hosts.job_runner import JobReport, JobRunner
from engine.hosts.options import HostOptions
from engine.hosts.slots import Locks
from engine.kernel.deliveries import Delivery
from engine.kernel.kernel import Kernel
from engine.ports.job_transport import Doorbell, JobTransport
from engine.ports.persistence import NoClaim
from engine.ports.scheduler import Scheduler

type KernelFactory = Callable[[JobTransport, Scheduler], Kernel]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildDuty:
    """Everything a child needs to know; it crosses to the child by pickle."""

    worker_id: str
    pools: tuple[str, ...]
    run_id: str | None
    options: HostOptions
    locks: Locks
    factory: KernelFactory


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """Child to parent: a body begins. `timeout` in seconds from now."""

    workflow_run_id: str
    job_id: str
    lease_token: str
    timeout: float | None


@dataclass(frozen=True, slots=True)
class Idle:
    """Child to parent: nothing to claim."""


@dataclass(frozen=True, slots=True)
class Ring:
    """Child to parent: doorbells for jobs that any slot may take."""

    doorbells: tuple[Doorbell, ...]


@dataclass(frozen=True, slots=True)
class Wake:
    """Child to parent: a command for later."""

    command: Mapping[str, Json]
    at: datetime


@dataclass(frozen=True, slots=True)
class Work:
    """Parent to child: look for jobs until there are none."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Parent to child: finish the body at hand, take no other."""


class _Pipe:
    """The child's end: also its JobTransport and Scheduler, since timers and other slots live with the parent."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sending = threading.Lock()

    def send(self, word: object) -> None:
        with self._sending:
            self._connection.send(word)

    def notify(self, doorbells: Sequence[Doorbell]) -> None:
        if doorbells:
            self.send(Ring(tuple(doorbells)))

    def wake(self, command: Mapping[str, Any], at: datetime) -> None:
        self.send(Wake(dict(command), at))


def child_main(connection: Connection, duty: ChildDuty) -> None:
    """Runs until the parent says stop, or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    pipe = _Pipe(connection)
    stopping, looking = threading.Event(), threading.Event()
    listener = threading.Thread(target=_listen, args=(connection, stopping, looking), daemon=True)
    listener.start()
    kernel = duty.factory(pipe, pipe)
    with duty.locks(duty.worker_id), Heart(kernel, duty.options) as heart:
        runner = JobRunner(
            kernel,
            heart,
            duty.worker_id,
            duty.options,
            may_continue=lambda _stage: not stopping.is_set(),
            on_body=lambda delivery: pipe.send(_busy(delivery, kernel)),
        )
        while looking.wait() and not stopping.is_set():
            looking.clear()
            _drain(runner, duty, pipe, stopping)


def _drain(runner: JobRunner, duty: ChildDuty, pipe: _Pipe, stopping: threading.Event) -> None:
    while not stopping.is_set():
        report: JobReport | NoClaim = runner.run(pools=duty.pools, run_id=duty.run_id)
        if isinstance(report, NoClaim):
            break
        pipe.send(report)
    pipe.send(Idle())


def _listen(connection: Connection, stopping: threading.Event, looking: threading.Event) -> None:
    while True:
        try:
            word = connection.recv()
        except (EOFError, OSError):
            os._exit(1)  # the parent died: its successor takes the lease back as soon as this process's lock is free
        if isinstance(word, Stop):
            stopping.set()
        looking.set()


def _busy(delivery: Delivery, kernel: Kernel) -> Busy:
    job = delivery.claim.job
    return Busy(
        workflow_run_id=job.workflow_run_id,
        job_id=job.id,
        lease_token=delivery.token,
        timeout=kernel.timeout_of(delivery),
    )
