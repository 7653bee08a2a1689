"""The machine's clock, ids and randomness."""

import random
import secrets
import threading
import time
from datetime import UTC, datetime
from uuid import UUID

_RANDOM_BITS = 74
_STEP_BITS = 32


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


class SystemIds:
    """UUIDv7 (RFC 9562, method 2): within one millisecond the random part counts up in random steps."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last_ms = 0
        self._last_random = 0

    def new(self) -> str:
        with self._lock:
            self._advance(time.time_ns() // 1_000_000)
            milliseconds, randomness = self._last_ms, self._last_random
        return str(UUID(int=_layout(milliseconds, randomness)))

    def token(self) -> str:
        return secrets.token_urlsafe(24)

    def random(self) -> float:
        return random.random()

    def _advance(self, now_ms: int) -> None:
        """Keeps the ids in order when the clock stands still or goes back."""
        if now_ms > self._last_ms:
            self._last_ms, self._last_random = now_ms, secrets.randbits(_RANDOM_BITS)
            return
        self._last_random += 1 + secrets.randbits(_STEP_BITS)
        if self._last_random >> _RANDOM_BITS:
            self._last_ms, self._last_random = self._last_ms + 1, secrets.randbits(_RANDOM_BITS)


def _layout(milliseconds: int, randomness: int) -> int:
    version_and_a = 0x7000 | randomness >> 62
    variant_and_b = 0b10 << 62 | randomness & (1 << 62) - 1
    return milliseconds << 80 | version_and_a << 64 | variant_and_b
