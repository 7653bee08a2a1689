"""The read side over a store and its blob store."""

from collections.abc import Sequence
from datetime import datetime
from typing import BinaryIO

from engine.domain.ai_calls import AICallRecord, CallTotals
from engine.domain.errors import InvalidInput, NotFound
from engine.domain.records import AnnotationRecord, ArtifactRecord, JobRecord, LogRecord, OutboxRecord, RunRecord
from engine.domain.values import UNSTORABLE, Json, StoredValue
from engine.ports.ai_calls import CallFilter
from engine.ports.blob_store import BlobStore, load_value
from engine.ports.persistence import Persistence
from engine.ports.reads import Page, RunView
from engine.ports.transaction import AnnotationFilter, RunFilter, Tx

LEGACY_PREFIX = "legacy.metadata."


class StoredReads:
    """`Reads`, and the reads that need the stores themselves: model calls and the content of artifacts."""

    def __init__(self, persistence: Persistence, blob_store: BlobStore) -> None:
        self._persistence, self._blob_store = persistence, blob_store

    def runs(self, where: RunFilter, limit: int = 50) -> Page:
        found = self._persistence.read(lambda tx: tx.runs.search(where, limit + 1))
        cursor = found[limit - 1].id if len(found) > limit else None
        return Page(found[:limit], cursor)

    def run(self, run_id: str) -> RunView:
        def read(tx: Tx) -> RunView:
            return RunView(tx.runs.get(run_id), tx.stages.of_run(run_id), tx.jobs.of_run(run_id))

        return self._persistence.read(read)

    def resolve(self, prefix: str) -> str:
        if UNSTORABLE.search(prefix):
            raise NotFound("run", prefix)
        exact = self._persistence.read(lambda tx: tx.runs.find(prefix))
        if exact is not None:
            return exact.id
        found = self._persistence.read(lambda tx: tx.runs.search(RunFilter(id_prefix=prefix), 3))
        if not found:
            raise NotFound("run", prefix)
        if len(found) > 1:
            listed = ", ".join(run.id for run in found)
            raise InvalidInput(f"run id {prefix!r} is short for more than one run ({listed}, …); give more of it")
        return found[0].id

    def logs(
        self, run_id: str, *, after: str | None = None, stage_id: str | None = None, limit: int = 1000
    ) -> Sequence[LogRecord]:
        return self._persistence.read(lambda tx: tx.logs.of_run(run_id, after=after, stage_id=stage_id, limit=limit))

    def events(self, run_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[OutboxRecord]:
        return self._persistence.read(lambda tx: tx.outbox.of_run(run_id, after=after, limit=limit))

    def annotations(self, run_id: str, where: AnnotationFilter) -> Sequence[AnnotationRecord]:
        run, rows, explicit = self._persistence.read(
            lambda tx: (
                tx.runs.get(run_id),
                tx.annotations.of_run(run_id, where),
                tx.annotations.of_run(run_id, AnnotationFilter(key_prefix=LEGACY_PREFIX)),
            )
        )
        known = {row.key for row in explicit}
        legacy = [row for row in _legacy(run) if row.key not in known and _meets(row, where)]
        return [*legacy, *rows][: where.limit]

    def artifacts(self, run_id: str) -> Sequence[ArtifactRecord]:
        return self._persistence.read(lambda tx: tx.artifacts.of_run(run_id))

    def ai_calls(self, run_id: str, *, after: str | None = None, limit: int = 1000) -> Sequence[AICallRecord]:
        """In order of sending; `after` is the last id already seen."""
        return self._persistence.read(lambda tx: tx.ai_calls.of_run(run_id, after=after, limit=limit))

    def call_totals(self, run_id: str) -> Sequence[CallTotals]:
        return self._persistence.read(lambda tx: tx.ai_calls.totals(CallFilter(workflow_run_id=run_id)))

    def open_artifact(self, artifact: ArtifactRecord) -> BinaryIO:
        """Raises `BlobNotFound`."""
        return self._blob_store.open(artifact.blob_key)

    def waiting_jobs(self, limit: int = 100) -> Sequence[JobRecord]:
        return self._persistence.read(lambda tx: tx.jobs.waiting(limit))

    def backlog(self) -> tuple[int, datetime | None]:
        return self._persistence.read(lambda tx: tx.outbox.backlog())

    def dead_letters(self, limit: int = 100, event_type: str | None = None) -> Sequence[OutboxRecord]:
        return self._persistence.read(lambda tx: tx.outbox.dead(limit, event_type))

    def value(self, stored: StoredValue | None) -> Json:
        return None if stored is None else load_value(stored, self._blob_store)


def _legacy(run: RunRecord) -> list[AnnotationRecord]:
    return [
        AnnotationRecord(
            id=f"legacy:{run.id}:{name}",
            workflow_run_id=run.id,
            scope="run",
            scope_id=run.id,
            generation=0,
            key=f"{LEGACY_PREFIX}{name}",
            value=value,
            created_at=run.created_at,
        )
        for name, value in (run.metadata or {}).items()
        if value is not None
    ]


def _meets(row: AnnotationRecord, where: AnnotationFilter) -> bool:
    exact = {"key": row.key, "scope": row.scope, "scope_id": row.scope_id, "generation": row.generation}
    return (
        all(getattr(where, name) in {None, value} for name, value in exact.items())
        and row.key.startswith(where.key_prefix or "")
        and where.actor_id is None
        and where.actor_kind is None
        and (where.since is None or row.created_at >= where.since)
        and (where.until is None or row.created_at < where.until)
    )
