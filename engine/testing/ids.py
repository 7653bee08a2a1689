import random
import threading


class FixedIds:
    """Gives the same ids, tokens and random numbers for the same seed. Ids sort in order of creation."""

    def __init__(self, seed: int = 0) -> None:
        self._seed, self._count = seed, 0
        self._random = random.Random(seed)
        self._lock = threading.Lock()

    def new(self) -> str:
        """A UUIDv7 that counts up."""
        count = self._next()
        return f"00000000-0000-7000-8{self._seed:03x}-{count:012x}"

    def token(self) -> str:
        return f"token-{self._seed}-{self._next()}"

    def random(self) -> float:
        with self._lock:
            return self._random.random()

    def _next(self) -> int:
        with self._lock:
            self._count += 1
            return self._count
