import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from engine.adapters.memory.ai_calls import MemoryAICalls
from engine.adapters.memory.annotations import MemoryAnnotations
from engine.adapters.memory.artifacts import MemoryArtifacts
from engine.adapters.memory.jobs import MemoryJobs
from engine.adapters.memory.keys import MemoryKeys
from engine.adapters.memory.logs import MemoryLogs
from engine.adapters.memory.outbox import MemoryOutbox
from engine.adapters.memory.runs import MemoryRuns
from engine.adapters.memory.stages import MemoryStages
from engine.adapters.memory.tables import Tables
from engine.domain.errors import StoreError
from engine.kernel.apply import apply_write_set
from engine.kernel.claim import claim_job
from engine.ports.clock import Clock
from engine.ports.persistence import Claim, ClaimRequest, NoClaim
from engine.ports.transaction import Tx
from engine.ports.write_set import Applied, WriteSet


class MemoryTx:
    def __init__(self, tables: Tables) -> None:
        self._clock = tables.clock
        self.runs = MemoryRuns(tables)
        self.stages = MemoryStages(tables)
        self.jobs = MemoryJobs(tables)
        self.logs = MemoryLogs(tables)
        self.artifacts = MemoryArtifacts(tables)
        self.annotations = MemoryAnnotations(tables)
        self.outbox = MemoryOutbox(tables)
        self.keys = MemoryKeys(tables)
        self.ai_calls = MemoryAICalls(tables)

    def now(self) -> datetime:
        return self._clock.now()


class InMemoryPersistence:
    """One transaction at a time, undone when it raises. Like one connection, it cannot be used within itself."""

    def __init__(self, clock: Clock) -> None:
        self._tables = Tables(clock)
        self._tx = MemoryTx(self._tables)
        self._lock = threading.Lock()
        self._owner: int | None = None

    def transact[T](self, work: Callable[[Tx], T]) -> T:
        journal, done = self._tables.journal, False
        with self._no_nested_transaction():
            journal.begin()
            try:
                result = work(self._tx)
                done = True
            finally:
                journal.end(keep=done)
        return result

    def read[T](self, work: Callable[[Tx], T]) -> T:
        with self._no_nested_transaction():
            return work(self._tx)

    def apply(self, write_set: WriteSet) -> Applied:
        return self.transact(lambda tx: apply_write_set(tx, write_set))

    def claim(self, request: ClaimRequest) -> Claim | NoClaim:
        return self.transact(lambda tx: claim_job(tx, request))

    def close(self) -> None:
        """Nothing is held open."""

    @contextmanager
    def _no_nested_transaction(self) -> Iterator[None]:
        if self._owner == threading.get_ident():
            raise StoreError("a transaction inside a transaction would need a second connection")
        with self._lock:
            self._owner = threading.get_ident()
            try:
                yield
            finally:
                self._owner = None
