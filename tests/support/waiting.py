import time
from collections.abc import Callable


def until(holds: Callable[[], object], what: str, *, seconds: float = 30.0) -> float:
    """Polls until a deadline. Gives the seconds that it took."""
    begun = time.monotonic()
    while not holds():
        assert time.monotonic() - begun < seconds, f"after {seconds:g} s still not so: {what}"
        time.sleep(0.02)
    return time.monotonic() - begun
