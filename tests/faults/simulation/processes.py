"""Simulated operating-system processes: what runs in them, and how they are stopped, resumed and killed."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from engine.execution.attempt import Attempt
from tests.faults.simulation.coroutines import Coroutine
from tests.faults.simulation.faults import WAIT, Crash, Point, Resume


@dataclass(eq=False, slots=True)
class Machine:
    """One operating-system process: all its threads die together. `attempts` are those it holds or believes to."""

    name: str
    born: datetime
    is_user: bool = False
    is_alive: bool = True
    is_frozen: bool = False
    threads: list["Process"] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)


class Process:
    """A thread of a machine, stopped before a call of a port or in the middle of a body."""

    def __init__(self, name: str, machine: Machine, call: Callable[[], None]) -> None:
        self.name, self.machine, self.point = name, machine, WAIT
        self.waits_for: Callable[[], bool] = lambda: True
        self.finishing: Attempt | None = None
        self.refused_writes = 0
        self.was_repeated = False
        self._coroutine = Coroutine(call, Resume.GO)
        machine.threads.append(self)

    @property
    def can_go_on(self) -> bool:
        """Whether it is not frozen, and what it waits for is so."""
        return not self.machine.is_frozen and self.waits_for()

    @property
    def is_done(self) -> bool:
        return self._coroutine.is_done

    def resume(self, how: Resume) -> None:
        self._coroutine.resume(how)

    def pause(self, point: Point) -> Resume:
        """Gives how it goes on. Raises `Crash` when its machine has died, now or before."""
        self.die_if_dead()
        self.point = point
        how = self._coroutine.pause()
        self.die_if_dead()
        return how

    def die_if_dead(self) -> None:
        if not self.machine.is_alive:
            raise Crash
