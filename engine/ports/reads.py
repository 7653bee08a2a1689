"""The read side of an engine, for command line, API and console."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from engine.domain.ai_calls import CallTotals
from engine.domain.records import (
    AnnotationRecord,
    ArtifactRecord,
    JobRecord,
    LogRecord,
    OutboxRecord,
    RunRecord,
    StageRecord,
)
from engine.domain.values import Json, StoredValue
from engine.ports.transaction import AnnotationFilter, RunFilter


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


class Reads(Protocol):
    """Reads change nothing and take no locks. Lists of an unknown run are empty, unless noted.

    Every method raises `StoreUnavailable` when the store, or the function in front of it, does not answer.
    """

    def runs(self, where: RunFilter, limit: int = 50) -> Page: ...

    def run(self, run_id: str) -> RunView:
        """Raises `NotFound`."""

    def resolve(self, prefix: str) -> str:
        """The id of the one run that begins with `prefix`. Raises `NotFound`, or `InvalidInput` when several do."""

    def logs(
        self, run_id: str, *, after: str | None = None, stage_id: str | None = None, limit: int = 1000
    ) -> Sequence[LogRecord]:
        """In order of writing; `after` is the last id already seen."""

    def events(self, run_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[OutboxRecord]:
        """In order; `after` is the last sequence number already seen."""

    def annotations(self, run_id: str, where: AnnotationFilter) -> Sequence[AnnotationRecord]:
        """The annotations that meet all conditions, by created_at, then insertion. Raises `NotFound`.

        Legacy run metadata appears as `legacy.metadata.*` until a row of that key exists.
        """

    def artifacts(self, run_id: str) -> Sequence[ArtifactRecord]:
        """By stage, then name."""

    def call_totals(self, run_id: str) -> Sequence[CallTotals]:
        """Sums of the run's model calls, by stage, generation, attempt, model, type and state."""

    def waiting_jobs(self, limit: int = 100) -> Sequence[JobRecord]:
        """Jobs that have not ended, oldest first."""

    def backlog(self) -> tuple[int, datetime | None]:
        """The number of unpublished events, and the time of the oldest."""

    def dead_letters(self, limit: int = 100, event_type: str | None = None) -> Sequence[OutboxRecord]:
        """Events in the dead-letter queue, oldest first."""

    def value(self, stored: StoredValue | None) -> Json:
        """The value that a record refers to; None for None. Raises `BlobNotFound`.

        A reader without access to the blob store gives the reference itself, {"blob": key, "size": bytes}.
        """
