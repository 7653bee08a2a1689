"""Tools to test workflows. `engine.testing.contracts` has the suites for adapters."""

from engine.adapters.local.job_queue import InMemoryJobQueue
from engine.adapters.memory.ai_call_logger import InMemoryAICallLogger
from engine.adapters.memory.blob_store import InMemoryBlobStore
from engine.adapters.memory.persistence import InMemoryPersistence
from engine.testing.clock import FakeClock
from engine.testing.event_sink import CollectingEventSink
from engine.testing.ids import FixedIds
from engine.testing.kernel import RunDidNotEnd, TestKernel
from engine.testing.scheduler import NoopScheduler

__all__ = [
    "CollectingEventSink",
    "FakeClock",
    "FixedIds",
    "InMemoryAICallLogger",
    "InMemoryBlobStore",
    "InMemoryJobQueue",
    "InMemoryPersistence",
    "NoopScheduler",
    "RunDidNotEnd",
    "TestKernel",
]
