from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.definition.stage import Stage
from engine.domain.values import Json, StoredValue, in_blob, inline
from engine.ports.blob_store import BlobStore
from engine.ports.call_owner import CallOwner
from engine.ports.clock import Clock
from engine.ports.event_sink import EventSink
from engine.ports.executor import ActivityExecutor
from engine.ports.ids import Ids
from engine.ports.job_transport import JobTransport
from engine.ports.persistence import Persistence
from engine.ports.registry import Registry
from engine.ports.scheduler import Scheduler

INLINE_OUTPUT_MAX_BYTES = 8192


def no_ai(_topic: str, _owner: CallOwner) -> object:
    """A kernel without AI: `ctx.ai` is None."""
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """The ports and settings of the kernel.

    `inline_max`: values up to that many bytes of JSON stay in their row, larger ones go to the blob store.
    `pool_timeouts`: timeout in seconds of stages in that pool without their own; other pools have no limit.
    """

    persistence: Persistence
    blob_store: BlobStore
    job_transport: JobTransport
    event_sink: EventSink
    scheduler: Scheduler
    clock: Clock
    registry: Registry
    executor: ActivityExecutor
    ids: Ids
    ai_for: Callable[[str, CallOwner], object] = no_ai
    inline_max: int = INLINE_OUTPUT_MAX_BYTES
    pool_timeouts: Mapping[str, float] = field(default_factory=dict)

    def timeout_of(self, stage: Stage[Any, Any, Any]) -> float | None:
        """The timeout of the stage's body in seconds; None means no limit."""
        if stage.timeout is not None:
            return stage.timeout.total_seconds()
        return self.pool_timeouts.get(stage.pool)

    def store_value(self, value: Json, key: str) -> StoredValue:
        """The stored form of `value`. A value too large for a row is written as the blob `key`."""
        stored = inline(value)
        if len(stored["json"].encode(errors="surrogatepass")) <= self.inline_max:
            return stored
        return in_blob(key, self.blob_store.put(key, value).size)
