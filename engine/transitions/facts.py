"""Facts about one attempt of a stage: its outcome, and the logs, progress and annotations of its body."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from engine.domain.events import Event, StageProgress
from engine.domain.records import AnnotationRecord, ArtifactRecord, LogRecord, RunRecord, StageRecord
from engine.domain.values import Json, StoredValue


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    output: StoredValue
    metrics: Mapping[str, Json] = field(default_factory=dict)
    embeddings: Mapping[str, Json] | None = None
    artifacts: tuple[ArtifactRecord, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspended:
    """`state` is the stored form of `SuspendedState`."""

    state: Mapping[str, Json]
    next_poll_at: datetime
    poll_interval_s: float
    max_wait_until: datetime
    metrics: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """`retry_in`: seconds until the next attempt; None means no retry."""

    code: str
    message: str
    trace: str | None = None
    retry_in: float | None = None


@dataclass(frozen=True, slots=True)
class Ghost:
    """Nothing was committed: the attempt no longer holds the job, or the run has ended. `why` is for the log."""

    why: str


type Outcome = Completed | Suspended | Failed


@dataclass(frozen=True, slots=True)
class Progress:
    progress: float
    message: str | None
    details: Json
    at: datetime

    def row(self) -> dict[str, Json]:
        return {
            "progress": self.progress,
            "message": self.message,
            "details": self.details,
            "at": self.at.isoformat(),
        }

    def event(self, run: RunRecord, stage: StageRecord) -> StageProgress:
        fields = {"progress": self.progress, "message": self.message, "details": self.details}
        return StageProgress.of(run, stage, self.at, **fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotationDraft:
    """An annotation with its event, if the caller asked for one."""

    record: AnnotationRecord
    event: Event | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """Logs, progress and annotations of a body since its last heartbeat."""

    logs: tuple[LogRecord, ...] = ()
    progress: Progress | None = None
    annotations: tuple[AnnotationDraft, ...] = ()
