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
from engine.adapters.memory.rows import MemoryRows
from engine.adapters.memory.runs import MemoryRuns
from engine.adapters.memory.stages import MemoryStages
from engine.adapters.memory.tables import Tables
from engine.adapters.row_store import WriteRefused, claim_over_rows, decide_over_rows, write_changes
from engine.domain.errors import StoreError
from engine.ports.changes import Changes, Refused, Written
from engine.ports.clock import Clock
from engine.ports.persistence import Claim, ClaimRequest, Decision, NoClaim
from engine.ports.transaction import Tx


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
    """One transaction at a time, rolled back when it raises. A nested transaction is refused."""

    def __init__(self, clock: Clock) -> None:
        self._tables = Tables(clock)
        self._tx, self._rows = MemoryTx(self._tables), MemoryRows(self._tables)
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

    def write(self, changes: Changes) -> Written | Refused:
        try:
            return self.transact(lambda _tx: write_changes(self._rows, changes))
        except WriteRefused:
            return Refused()

    def decide(
        self,
        run_id: str,
        decision: Decision,
        *,
        job_id: str | None = None,
        whole: bool = False,  # noqa: ARG002 — reading costs nothing here
    ) -> Written | Refused:
        try:
            return self.transact(lambda tx: decide_over_rows(self._rows, tx, run_id, decision, job_id))
        except WriteRefused:
            return Refused()

    def claim(self, request: ClaimRequest) -> Claim | NoClaim:
        return self.transact(lambda _tx: claim_over_rows(self._rows, request))

    def close(self) -> None:
        """No-op: no resource is open."""

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
