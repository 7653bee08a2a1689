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
    """Stages get no `ctx.ai` from a kernel that was not given any."""
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything the kernel needs, as ports.

    `inline_max`: values up to that many bytes of JSON stay in their row, larger ones go to the blob store.
    `pool_timeouts`: seconds a stage of that pool may take when it does not say itself; a pool not named has no limit.
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
        """Seconds the stage's body may take; None means no limit."""
        if stage.timeout is not None:
            return stage.timeout.total_seconds()
        return self.pool_timeouts.get(stage.pool)

    def store_value(self, value: Json, key: str) -> StoredValue:
        """`value` as its row holds it; written under `key` when it is too large for the row."""
        stored = inline(value)
        if len(stored["json"].encode(errors="surrogatepass")) <= self.inline_max:
            return stored
        return in_blob(key, self.blob_store.put(key, value).size)
