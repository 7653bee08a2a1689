"""One seed, one history: chaos and healing in turns, then the end."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from tests.faults.simulation.choices import Choices, Skipped, Step
from tests.faults.simulation.facts import create, happen
from tests.faults.simulation.healing import finish, heal
from tests.faults.simulation.world import World

ROUNDS = 2
FACTS_PER_ROUND = 130


@dataclass(frozen=True, slots=True)
class History:
    """How a seed went: its steps, what was reached, and why it failed, if it did."""

    seed: int
    steps: Sequence[Step]
    counts: Counter[str]
    failure: BaseException | None = None


def play(seed: int, played: Sequence[Step] | None = None, *, tell: Callable[[str], None] | None = None) -> History:
    """Runs the history of a seed, or plays steps back; never raises what the history shows."""
    choices = Choices(seed, played)
    choices.next_step("begin")
    world = World(choices, tell)
    failure: BaseException | None = None
    with _silent():
        try:
            _tell_history(world)
        except Exception as error:  # noqa: BLE001 — whatever it is, it is the history's failure
            failure = error
        finally:
            for process in list(world.processes):
                world.kill(process.machine)
    return History(seed, choices.steps, world.counts, failure or world.failure)


def _tell_history(world: World) -> None:
    create(world)
    for number in range(ROUNDS):
        for _ in world.choices.each_step(f"chaos {number}", FACTS_PER_ROUND):
            with suppress(Skipped):
                happen(world)
        if number < ROUNDS - 1:
            heal(world, f"heal {number}", to_the_end=False)
    finish(world)


@contextmanager
def _silent() -> Iterator[None]:
    """The engine logs every fault; thousands of histories would say nothing but that."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
