"""Every decision of a history: drawn from a seed, or played back.

A decision is a number below a bound, and 0 is always the option that disturbs least. So a history is shortened by
playing back fewer of its decisions: all others are 0.
"""

from collections.abc import Mapping, Sequence
from random import Random


class Choices:
    """Draws from `seed`, or plays `played` back: position of a decision → its number."""

    def __init__(self, seed: int, played: Mapping[int, int] | None = None) -> None:
        self._random, self._played = Random(seed), played
        self._count = 0
        self.taken: dict[int, int] = {}
        """The decisions that were not 0."""

    def weighted(self, weights: Sequence[int]) -> int:
        """The index of one of the weights."""
        return self._keep(self._weighted(weights) if self._played is None else self._replayed(len(weights)))

    def below(self, bound: int) -> int:
        if bound <= 1:
            return 0
        return self._keep(int(self._random.random() * bound) if self._played is None else self._replayed(bound))

    def one_of[T](self, options: Sequence[T]) -> T:
        return options[self.below(len(options))]

    def happens(self, per_thousand: int) -> bool:
        return bool(self.weighted((1000 - per_thousand, per_thousand)))

    def _weighted(self, weights: Sequence[int]) -> int:
        left = self._random.random() * sum(weights)
        for index, weight in enumerate(weights):
            left -= weight
            if left < 0:
                return index
        return 0

    def _replayed(self, bound: int) -> int:
        assert self._played is not None
        return min(self._played.get(self._count, 0), bound - 1)

    def _keep(self, value: int) -> int:
        if value:
            self.taken[self._count] = value
        self._count += 1
        return value
