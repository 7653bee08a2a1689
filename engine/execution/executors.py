"""Executors of stage bodies."""

import asyncio
import os
from collections.abc import Collection, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, cast

from engine.domain.errors import StageTimeout
from engine.ports.executor import Activity, ActivityExecutor


class LocalExecutor:
    """Runs bodies in this process: sync ones inline, async ones on an event loop of their own."""

    def run(self, activity: Activity) -> object:
        with _ending_forks():
            returned = activity.stage.body(activity.context)
        if not asyncio.iscoroutine(returned):
            return returned
        return asyncio.run(_within(cast(Coroutine[Any, Any, object], returned), activity))


@contextmanager
def _ending_forks() -> Iterator[None]:
    """Ends a process that the body forked and that comes back from the body: only its parent finishes the stage."""
    process_id, code = os.getpid(), 1
    try:
        yield
        code = 0
    finally:
        if os.getpid() != process_id:
            os._exit(code)


async def _within(body: Coroutine[Any, Any, object], activity: Activity) -> object:
    limit = asyncio.timeout(activity.timeout)
    try:
        async with limit:
            with _ending_forks():
                return await body
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise StageTimeout(f"stage {activity.stage.id!r} ran longer than its {activity.timeout:g} s") from error


class RoutingExecutor:
    """Runs the stages named in `remote_stage_ids` by `remote` and all others by `local`."""

    def __init__(self, *, remote: ActivityExecutor, remote_stage_ids: Collection[str], local: ActivityExecutor) -> None:
        self._remote, self._local = remote, local
        self._remote_stage_ids = frozenset(remote_stage_ids)

    def run(self, activity: Activity) -> object:
        executor = self._remote if activity.stage.id in self._remote_stage_ids else self._local
        return executor.run(activity)
