"""Every decision of a history: drawn from a seed, or played back.

A history is a row of steps, and each step has its own decisions: numbers below a bound, 0 for the option that disturbs
least, and names of what was chosen among processes, messages, runs and facts. So a history is shortened by leaving out
steps: the others keep their decisions. A step that names what is no longer there does nothing.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

UNRECORDED = 100_000
"""From here on steps are numbered that were not recorded."""


class Skipped(Exception):
    """What a step names is not there."""


@dataclass(slots=True)
class Step:
    """`part` is that of the history: a step of chaos that is left out is not done, one of healing is done anyhow."""

    part: str
    number: int
    values: list[int | str] = field(default_factory=list)


class Choices:
    """Draws from `seed`, or plays steps back."""

    def __init__(self, seed: int, played: Sequence[Step] | None = None) -> None:
        self._random, self._is_played = Random(seed), played is not None
        self._left: dict[str, deque[Step]] = {}
        for step in played or ():
            self._left.setdefault(step.part, deque()).append(step)
        self.steps: list[Step] = []
        self._step = Step("", 0)
        self._position = self._unrecorded = 0

    def each_step(self, part: str, count: int) -> Iterator[None]:
        """`count` new steps, or those that were recorded of the part."""
        if self._is_played:
            count = len(self._left.get(part, ()))
        for _ in range(count):
            self.next_step(part)
            yield

    def next_step(self, part: str) -> None:
        left = self._left.get(part)
        if left:
            self._step, self._position = left.popleft(), 0
        else:
            number = UNRECORDED + len(self.steps) if self._is_played else len(self.steps)
            self._step, self._position = Step(part, number), 0
        self.steps.append(self._step)

    @property
    def number(self) -> int:
        """Of the present step."""
        return self._step.number

    def weighted(self, weights: Sequence[int]) -> int:
        """The index of one of the weights."""
        if self._is_played:
            return min(self._recorded_number(), len(weights) - 1)
        left = self._random.random() * sum(weights)
        for index, weight in enumerate(weights):
            left -= weight
            if left < 0:
                return self._keep(index)
        return self._keep(0)

    def below(self, bound: int) -> int:
        if self._is_played:
            return min(self._recorded_number(), bound - 1)
        return self._keep(int(self._random.random() * bound))

    def one_of[T](self, options: Sequence[T]) -> T:
        return options[self.below(len(options))]

    def named[T](self, options: Sequence[T], name: Callable[[T], str], weights: Sequence[int] | None = None) -> T:
        """One of the options, remembered by its name. Raises `Skipped` when a name that is played is not among them."""
        if self._is_played:
            return self._recorded_option(options, name)
        index = self._random.choices(range(len(options)), weights)[0] if weights else self._draw(len(options))
        self._step.values.append(name(options[index]))
        return options[index]

    def shuffled_weights(self, weights: Mapping[str, int]) -> dict[str, int]:
        """Each is multiplied by chance, so that histories differ in what happens often. Not needed to play back."""
        return {name: weight * self._random.choice((1, 2, 2, 6)) for name, weight in weights.items()}

    def happens(self, per_thousand: int) -> bool:
        return bool(self.weighted((1000 - per_thousand, per_thousand)))

    def _draw(self, bound: int) -> int:
        return int(self._random.random() * bound)

    def _keep(self, value: int) -> int:
        self._step.values.append(value)
        return value

    def _next(self) -> int | str | None:
        self._position += 1
        values = self._step.values
        return values[self._position - 1] if self._position <= len(values) else None

    def _recorded_number(self) -> int:
        value = self._next()
        return value if isinstance(value, int) else 0

    def _recorded_option[T](self, options: Sequence[T], name: Callable[[T], str]) -> T:
        wanted = self._next()
        for option in options:
            if wanted is None or name(option) == wanted:
                return option
        if self._step.part.startswith("heal"):
            return options[0]
        raise Skipped(wanted)
