from engine.adapters.memory.table import Journal, Table
from engine.domain.ai_calls import AICallRecord, SpendingRecord
from engine.domain.errors import StoreError
from engine.domain.records import (
    AnnotationRecord,
    ArtifactRecord,
    JobRecord,
    KeyRecord,
    LogRecord,
    OutboxRecord,
    RunRecord,
    StageRecord,
)
from engine.ports.clock import Clock


class Tables:
    """All rows of a store, and its clock."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.journal = Journal()
        self.runs = Table("run", RunRecord, self.journal, "id")
        self.stages = Table("stage", StageRecord, self.journal)
        self.jobs = Table("job", JobRecord, self.journal)
        self.logs = Table("log", LogRecord, self.journal)
        self.artifacts = Table("artifact", ArtifactRecord, self.journal)
        self.annotations = Table("annotation", AnnotationRecord, self.journal)
        self.outbox = Table("event", OutboxRecord, self.journal)
        self.keys = Table("idempotency key", KeyRecord, self.journal, "tenant")
        self.ai_calls = Table("AI call", AICallRecord, self.journal)
        self.spending = Table("spending", SpendingRecord, self.journal)
        self.delivered: dict[str, frozenset[str]] = {}

    def belongs(self, run_id: str) -> None:
        """Checks the foreign key to the run, as every row of a run has one."""
        if run_id not in self.runs:
            raise StoreError(f"this row belongs to a run that does not exist: {run_id!r}")

    def set_delivered(self, event_id: str, names: frozenset[str]) -> None:
        before = self.delivered.get(event_id, frozenset())
        self.journal.add(lambda: self.delivered.__setitem__(event_id, before))
        self.delivered[event_id] = names

    def forget_delivered(self, event_id: str) -> None:
        if event_id in self.delivered:
            self.set_delivered(event_id, frozenset())
