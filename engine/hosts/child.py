"""The child process of a worker slot, and the messages between it and its parent."""

import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any

from engine.domain.values import Json
from engine.execution.attempt import Attempt
from engine.hosts.job_runner import JobReport, JobRunner
from engine.hosts.lease_keeper import LeaseKeeper
from engine.hosts.options import HostOptions
from engine.hosts.slots import Locks
from engine.kernel.kernel import Kernel
from engine.ports.job_transport import JobNotification, JobTransport
from engine.ports.persistence import NoClaim
from engine.ports.scheduler import Scheduler

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

type KernelFactory = Callable[[JobTransport, Scheduler], Kernel]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSlotConfig:
    """The configuration of a child process. It is pickled to the child."""

    worker_id: str
    pools: tuple[str, ...]
    run_id: str | None
    options: HostOptions
    locks: Locks
    factory: KernelFactory


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """Child to parent: a body starts. `timeout` is in seconds from now."""

    workflow_run_id: str
    job_id: str
    lease_token: str
    timeout: float | None


@dataclass(frozen=True, slots=True)
class Idle:
    """Child to parent: nothing to claim."""


@dataclass(frozen=True, slots=True)
class Notify:
    """Child to parent: notifications for jobs that any slot may take."""

    notifications: tuple[JobNotification, ...]


@dataclass(frozen=True, slots=True)
class Wake:
    """Child to parent: a command to dispatch at a later time."""

    command: Mapping[str, Json]
    at: datetime


@dataclass(frozen=True, slots=True)
class Work:
    """Parent to child: look for jobs until there are none."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Parent to child: finish the running body and take no other job."""


class _Pipe:
    """The child's end of the pipe. It is also the child's JobTransport and Scheduler: both live in the parent."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sending = threading.Lock()

    def send(self, word: object) -> None:
        with self._sending:
            self._connection.send(word)

    def notify(self, notifications: Sequence[JobNotification]) -> None:
        if notifications:
            self.send(Notify(tuple(notifications)))

    def wake(self, command: Mapping[str, Any], at: datetime) -> None:
        self.send(Wake(dict(command), at))


def child_main(connection: Connection, config: ChildSlotConfig) -> None:
    """Runs until the parent sends `Stop` or dies."""
    os.setpgid(0, 0)  # a group of its own: the processes that a body starts are killed with it
    _leave_signals_to_parent()
    pipe = _Pipe(connection)
    stopping, looking = threading.Event(), threading.Event()
    listener = threading.Thread(target=_listen, args=(connection, stopping, looking), daemon=True)
    listener.start()
    kernel = config.factory(pipe, pipe)
    with config.locks(config.worker_id), LeaseKeeper(kernel, config.options) as keeper:
        runner = JobRunner(
            kernel,
            keeper,
            config.worker_id,
            config.options,
            may_continue=lambda _stage: not stopping.is_set(),
            on_body=lambda attempt: pipe.send(_busy(attempt, kernel)),
        )
        while looking.wait() and not stopping.is_set():
            looking.clear()
            _drain(runner, config, pipe, stopping)


def _leave_signals_to_parent() -> None:
    """A service manager sends SIGTERM to all processes of the service, and only the parent decides what it means.

    The handlers do nothing. Unlike SIG_IGN they are not inherited by programs that a body starts, and forks get the
    defaults back. A signal that comes during a fork waits until then.
    """
    for number in _SIGNALS:
        signal.signal(number, _do_nothing)
    os.register_at_fork(
        before=partial(signal.pthread_sigmask, signal.SIG_BLOCK, _SIGNALS),
        after_in_parent=partial(signal.pthread_sigmask, signal.SIG_UNBLOCK, _SIGNALS),
        after_in_child=_restore_signals,
    )


def _restore_signals() -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    pass


def _drain(runner: JobRunner, config: ChildSlotConfig, pipe: _Pipe, stopping: threading.Event) -> None:
    while not stopping.is_set():
        report: JobReport | NoClaim = runner.run(pools=config.pools, run_id=config.run_id)
        if isinstance(report, NoClaim):
            break
        pipe.send(report)
    pipe.send(Idle())


def _listen(connection: Connection, stopping: threading.Event, looking: threading.Event) -> None:
    while True:
        try:
            word = connection.recv()
        except (EOFError, OSError):
            # The parent died. The next worker releases the lease once this process's lock is free.
            os.killpg(0, signal.SIGKILL)
            return
        if isinstance(word, Stop):
            stopping.set()
        looking.set()


def _busy(attempt: Attempt, kernel: Kernel) -> Busy:
    job = attempt.claim.job
    return Busy(
        workflow_run_id=job.workflow_run_id,
        job_id=job.id,
        lease_token=attempt.token,
        timeout=kernel.timeout_of(attempt),
    )
