"""The read side: what CLI, API and console show. Nothing here changes anything."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO

from engine.domain.ai_calls import AICallRecord, CallTotals
from engine.domain.errors import InvalidInput, NotFound
from engine.domain.records import (
    AnnotationRecord,
    ArtifactRecord,
    JobRecord,
    LogRecord,
    OutboxRecord,
    RunRecord,
    StageRecord,
)
from engine.domain.stored_value import Json, StoredValue
from engine.kernel.outputs import load_value
from engine.ports.ai_calls import CallFilter
from engine.ports.blob_store import BlobStore
from engine.ports.persistence import Persistence
from engine.ports.transaction import AnnotationFilter, RunFilter, Tx


@dataclass(frozen=True, slots=True)
class Page:
    """Runs, newest first. `cursor` asks for the next page; None at the end."""

    runs: Sequence[RunRecord]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class RunView:
    """A run with its stages and jobs as they were at one moment."""

    run: RunRecord
    stages: Sequence[StageRecord]
    jobs: Sequence[JobRecord]


class Reads:
    """`kernel.reads`. Run ids may be shortened to a prefix that only one run has, where a method says so."""

    def __init__(self, persistence: Persistence, blob_store: BlobStore) -> None:
        self._persistence, self._blob_store = persistence, blob_store

    def runs(self, where: RunFilter, limit: int = 50) -> Page:
        found = self._persistence.read(lambda tx: tx.runs.search(where, limit + 1))
        cursor = found[limit - 1].id if len(found) > limit else None
        return Page(found[:limit], cursor)

    def run(self, run_id: str) -> RunView:
        """Raises `NotFound`."""

        def read(tx: Tx) -> RunView:
            return RunView(tx.runs.get(run_id), tx.stages.of_run(run_id), tx.jobs.of_run(run_id))

        return self._persistence.read(read)

    def resolve(self, prefix: str) -> str:
        """The id of the one run that begins with `prefix`. Raises `NotFound`, or `InvalidInput` when
        several do.
        """
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
        return self._persistence.read(lambda tx: tx.annotations.of_run(run_id, where))

    def artifacts(self, run_id: str) -> Sequence[ArtifactRecord]:
        return self._persistence.read(lambda tx: tx.artifacts.of_run(run_id))

    def ai_calls(self, run_id: str, *, after: str | None = None, limit: int = 1000) -> Sequence[AICallRecord]:
        """In order of sending; `after` is the last id already seen."""
        return self._persistence.read(lambda tx: tx.ai_calls.of_run(run_id, after=after, limit=limit))

    def call_totals(self, run_id: str) -> Sequence[CallTotals]:
        """What the run's calls of models cost, by stage, generation, attempt, model, type and state."""
        return self._persistence.read(lambda tx: tx.ai_calls.totals(CallFilter(workflow_run_id=run_id)))

    def open_artifact(self, artifact: ArtifactRecord) -> BinaryIO:
        """Raises `BlobNotFound`."""
        return self._blob_store.open(artifact.blob_key)

    def waiting_jobs(self, limit: int = 100) -> Sequence[JobRecord]:
        return self._persistence.read(lambda tx: tx.jobs.waiting(limit))

    def backlog(self) -> tuple[int, datetime | None]:
        """How many events are not published yet, and when the oldest occurred."""
        return self._persistence.read(lambda tx: tx.outbox.backlog())

    def dead_letters(self, limit: int = 100, event_type: str | None = None) -> Sequence[OutboxRecord]:
        return self._persistence.read(lambda tx: tx.outbox.dead(limit, event_type))

    def value(self, stored: StoredValue | None) -> Json:
        """The input or output a record refers to, from the row or the blob store. Raises `BlobNotFound`."""
        return None if stored is None else load_value(stored, self._blob_store)
