"""Runs bodies in this process: sync ones inline, async ones on an event loop of their own."""

import asyncio
from collections.abc import Coroutine
from typing import Any, cast

from engine.domain.errors import StageTimeout
from engine.ports.executor import Activity


class LocalExecutor:
    """The default executor."""

    def run(self, activity: Activity) -> object:
        returned = activity.stage.body(activity.context)
        if not asyncio.iscoroutine(returned):
            return returned
        return asyncio.run(_within(cast(Coroutine[Any, Any, object], returned), activity))


async def _within(body: Coroutine[Any, Any, object], activity: Activity) -> object:
    limit = asyncio.timeout(activity.timeout)
    try:
        async with limit:
            return await body
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise StageTimeout(f"stage {activity.stage.id!r} ran longer than its {activity.timeout:g} s") from error
