"""Between threads and event loops.

Clients of providers are bound to the event loop they were made on, and a loop per stage body would not outlive one
body. So everything that goes to a provider runs on one loop in a thread of its own; what authors write (tools,
callbacks) runs where they called.
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
    """Runs `work` on the loop that provider clients live on."""
    loop = _loop_of(os.getpid())
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))


async def to_its_end[R](work: Callable[..., R], *given: object) -> R:
    """Runs `work` in a thread, whatever becomes of the caller: one that is cancelled waits, and is cancelled then."""
    running = asyncio.get_running_loop().run_in_executor(None, partial(copy_context().run, work, *given))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        running.exception()  # it was asked for, so that nobody complains
        raise


def run_now[R](make: Callable[[], Coroutine[Any, Any, R]]) -> R:
    """Blocks until the coroutine is done, also where a loop is running in this thread already."""
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
        except BaseException as error:  # noqa: BLE001 — whatever it was is raised again in the thread that waits
            errors.append(error)

    thread = threading.Thread(target=work, name="ai-call")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
