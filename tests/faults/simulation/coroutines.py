"""Calls that stop in the middle and go on later, so that several of them can be interleaved step by step.

Each runs in a thread of its own, and exactly one thread runs at a time: the order is the scheduler's alone. Threads are
kept for the next coroutine, because starting one costs more than ten steps.
"""

import threading
from collections.abc import Callable

_idle: list["_Thread"] = []


class _Thread:
    def __init__(self) -> None:
        self.go, self.back = threading.Lock(), threading.Lock()
        self.go.acquire()
        self.back.acquire()
        self.work: Callable[[], None] = lambda: None
        threading.Thread(target=self._run, name="coroutine", daemon=True).start()

    def _run(self) -> None:
        while True:
            self.go.acquire()
            self.work()
            self.back.release()


class Coroutine[T]:
    """`resume` runs the call up to its next `pause`; what is sent along is what `pause` gives."""

    def __init__(self, call: Callable[[], None], first: T) -> None:
        self._call, self._sent = call, first
        self._thread: _Thread | None = None
        self.is_done = False

    def resume(self, sent: T) -> None:
        if self._thread is None:
            self._thread = _idle.pop() if _idle else _Thread()
            self._thread.work = self._work
        thread, self._sent = self._thread, sent
        thread.go.release()
        thread.back.acquire()
        if self.is_done:
            _idle.append(thread)

    def pause(self) -> T:
        """Only within the call itself."""
        assert self._thread is not None
        self._thread.back.release()
        self._thread.go.acquire()
        return self._sent

    def _work(self) -> None:
        try:
            self._call()
        finally:
            self.is_done = True
