"""Runs coroutines across threads and event loops.

A provider's client is bound to the event loop that it was made on, and the loop of a stage body ends with the body. So
all requests to providers run on one loop in a thread of its own. Authors' tools and callbacks run in the caller's
thread.
"""

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from functools import cache, partial
from typing import Any


@cache
def _loop_of(_process: int) -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="ai-gateway", daemon=True).start()
    return loop


async def at_the_gateway[R](work: Coroutine[Any, Any, R]) -> R:
    """Runs `work` on the providers' loop."""
    loop = _loop_of(os.getpid())
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))


async def shielded[R](work: Callable[..., R], *given: object) -> R:
    """Runs `work` in a thread to its end. A cancelled caller waits for it, and is cancelled afterwards."""
    running = asyncio.get_running_loop().run_in_executor(None, partial(copy_context().run, work, *given))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        running.exception()  # marks an exception as retrieved, so that asyncio does not log it
        raise


def run_now[R](make: Callable[[], Coroutine[Any, Any, R]]) -> R:
    """Blocks until the coroutine is done, even if a loop already runs in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(make())
    return _in_a_thread(make)


def _in_a_thread[R](make: Callable[[], Coroutine[Any, Any, R]]) -> R:
    results: list[R] = []
    errors: list[BaseException] = []
    context = copy_context()

    def work() -> None:
        try:
            results.append(context.run(asyncio.run, make()))
        except BaseException as error:  # noqa: BLE001 — it is raised again in the waiting thread
            errors.append(error)

    thread = threading.Thread(target=work, name="ai-call")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
