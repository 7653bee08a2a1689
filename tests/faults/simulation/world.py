"""One simulated deployment: a kernel over simulated ports, the processes that use it, and time."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from engine.adapters.memory.persistence import InMemoryPersistence
from engine.domain.records import RunRecord
from engine.domain.values import Json, StoredValue
from engine.execution.executors import LocalExecutor
from engine.kernel.kernel import Kernel
from engine.ports.blob_store import load_value
from engine.ports.deps import Deps
from engine.ports.job_transport import JobNotification
from engine.testing.clock import FakeClock
from engine.testing.ids import FixedIds
from tests.faults.simulation.answers import Answers, CheckedKernel
from tests.faults.simulation.choices import Choices
from tests.faults.simulation.faults import BODY, HEARTBEAT, WAIT, Crash, Point, Resume, unavailable
from tests.faults.simulation.ports import (
    SimulatedBlobStore,
    SimulatedPersistence,
    SimulatedScheduler,
    SimulatedTransport,
)
from tests.faults.simulation.processes import Machine, Process
from tests.faults.simulation.queue import MessageQueue
from tests.faults.simulation.sink import SimulatedBatchingSink, SimulatedSink
from tests.faults.simulation.watch import Watch
from tests.faults.simulation.workflows import MOODS, POOLS, Behaviours, Registry

INLINE_MAX = 100
"""Bytes. Larger outputs go to the blob store."""
FAULTS_PER_THOUSAND = (20, 60, 0, 150)
USERS = frozenset({"creator", "canceller", "rerunner", "annotator", "redrive"})


def _always() -> bool:
    return True


class Failure(AssertionError):
    """A promise was broken."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a history is about. Without loss, messages and wakes alone must bring every run to its end."""

    faults: int
    is_lossless: bool
    has_batching_sink: bool
    mood: int

    @classmethod
    def drawn(cls, choices: Choices) -> "Setting":
        return cls(
            choices.one_of(FAULTS_PER_THOUSAND),
            bool(choices.below(2)),
            bool(choices.below(2)),
            choices.below(len(MOODS)),
        )


class World:
    def __init__(self, choices: Choices, tell: Callable[[str], None] | None = None) -> None:
        self.choices, self.tell = choices, tell
        self.setting = Setting.drawn(choices)
        self.counts: Counter[str] = Counter()
        self.clock = FakeClock()
        self.store = InMemoryPersistence(self.clock)
        self.jobs = MessageQueue[JobNotification](self.new_name)
        self.wakes = MessageQueue[Mapping[str, Any]](self.new_name)
        self.processes: list[Process] = []
        self.current: Process | None = None
        self.failure: BaseException | None = None
        self.is_calm = False
        self.steps = 0
        self.weights: dict[str, int] = {}
        self._names: set[str] = set()
        self._run_names: dict[str, str] = {}
        self.lost_jobs: set[str] = set()
        self.answers, self.watch = Answers(self), Watch(self)
        self.behaviours = Behaviours(self)
        self.blobs = SimulatedBlobStore(self)
        self.sink = SimulatedBatchingSink(self) if self.setting.has_batching_sink else SimulatedSink(self)
        self.kernel: Kernel = CheckedKernel(self._deps(), self)

    def _deps(self) -> Deps:
        return Deps(
            persistence=SimulatedPersistence(self),
            blob_store=self.blobs,
            job_transport=SimulatedTransport(self),
            event_sink=self.sink,
            scheduler=SimulatedScheduler(self),
            clock=self.clock,
            registry=Registry(self.behaviours),
            executor=LocalExecutor(),
            ids=FixedIds(),
            inline_max=INLINE_MAX,
            pool_timeouts=dict.fromkeys(POOLS, 60.0),
        )

    def new_name(self, kind: str) -> str:
        """A name that is the same when steps before the present one are left out."""
        name = f"{kind}-{self.choices.number}"
        while name in self._names:
            name += "+"
        self._names.add(name)
        return name

    def name_run(self, run: RunRecord) -> None:
        self._run_names[run.id] = self.new_name("run")

    def name_of_run(self, run: RunRecord) -> str:
        return self._run_names[run.id]

    # Processes

    def spawn(self, kind: str, call: Callable[[str], None], machine: Machine | None = None) -> Process:
        """A process that has not begun. `call` gets its name, which is its worker id too."""
        name = self.new_name(kind)
        process = Process(
            name, machine or Machine(name, self.clock.now(), is_user=kind in USERS), lambda: self._run(name, call)
        )
        self.processes.append(process)
        self.say(f"{name} begins")
        return process

    def _run(self, name: str, call: Callable[[str], None]) -> None:
        try:
            call(name)
        except Crash:
            pass
        except BaseException as error:  # noqa: BLE001 — whatever it is, it is the history's failure
            self.failure = self.failure or error

    def resume(self, process: Process, how: Resume = Resume.GO) -> None:
        self.steps += 1
        if self.tell:
            self.say(f"{process.name} {how.value} {process.point.name}")
        if how is Resume.CRASH_BEFORE:
            self.counts[f"crash before {process.point.name}"] += 1
            self.kill(process.machine)
            return
        self._resume(process, how)
        if not process.machine.is_alive:
            self.kill(process.machine)
        if self.failure is not None:
            raise Failure(str(self.failure)) from self.failure

    def _resume(self, process: Process, how: Resume) -> None:
        before, self.current = self.current, process
        process.resume(how)
        self.current = before
        if process.is_done and process in self.processes:
            self.processes.remove(process)

    def kill(self, machine: Machine) -> None:
        """The machine dies with all its threads; each unwinds without reaching anything outside."""
        machine.is_alive = False
        for process in machine.threads:
            while not process.is_done:
                self._resume(process, Resume.GO)
        self.processes = [process for process in self.processes if process.machine is not machine]

    def die(self) -> None:
        """The current process's machine dies where it is."""
        assert self.current is not None
        self.counts[f"crash after {self.current.point.name}"] += 1
        self.current.machine.is_alive = False

    # Calls of ports

    def pause(self, point: Point) -> Resume:
        """Stops the current process, if there is one; while healing only in bodies and between heartbeats."""
        if self.current is None:
            return Resume.GO
        if self.is_calm and point not in {BODY, HEARTBEAT}:
            self.current.die_if_dead()
            return Resume.GO
        return self.current.pause(point)

    def wait_until(self, holds: Callable[[], bool]) -> None:
        """Stops the current process until something holds."""
        process = self.current
        assert process is not None
        process.waits_for = holds
        try:
            process.pause(WAIT)
        finally:
            process.waits_for = _always

    def movable(self) -> list[Process]:
        return [process for process in self.processes if process.can_go_on]

    def call[T](self, point: Point, do: Callable[[], T]) -> T:
        how = self.pause(point)
        if how is Resume.UNAVAILABLE:
            raise unavailable(point)
        answer = self._done(point, do)
        if how is Resume.AGAIN:
            self.pause(Point(f"{point.name}, again"))
            answer = self._done(point, do)
        elif how is Resume.LOST:
            raise unavailable(point)
        elif how is Resume.CRASH_AFTER:
            self.die()
            raise Crash
        return answer

    def _done[T](self, point: Point, do: Callable[[], T]) -> T:
        answer = do()
        self.watch.look(point)
        return answer

    # Looking, without a process

    def value(self, stored: StoredValue | None) -> Json:
        """What a row refers to. Raises `BlobNotFound` when the blob is gone."""
        before, self.current = self.current, None
        try:
            return None if stored is None else load_value(stored, self.blobs)
        finally:
            self.current = before

    # Telling

    def reached(self, state: str) -> None:
        self.counts[state] += 1

    def say(self, what: str) -> None:
        if self.tell:
            self.tell(f"{self.steps:4} {self.clock.now():%H:%M:%S.%f}"[:-4] + f"  {what}")

    def fail(self, why: str) -> None:
        self.failure = self.failure or Failure(why)
        raise self.failure
