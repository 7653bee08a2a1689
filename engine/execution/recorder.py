"""Buffers the logs, progress and annotations of a body, without I/O."""

import threading
from collections.abc import Mapping
from typing import Any

from engine.domain.annotations import ActorInput, AnnotationInput
from engine.domain.records import AnnotationRecord, LogLevel, LogRecord, StageRecord
from engine.domain.values import Json, checked, plain
from engine.ports.clock import Clock
from engine.ports.ids import Ids
from engine.transitions.annotations import annotation_drafts
from engine.transitions.facts import AnnotationDraft, Progress, Recorded

MAX_BUFFERED_LOGS = 10_000


class Recorder:
    """Thread-safe buffers of one attempt. Heartbeats write logs and progress; the finish writes annotations."""

    def __init__(self, stage: StageRecord, workflow_id: str, *, clock: Clock, ids: Ids, attempt: int = 0) -> None:
        self._stage, self._workflow_id, self._clock, self._ids = stage, workflow_id, clock, ids
        self._attempt = attempt
        self._lock = threading.Lock()
        self._logs: list[LogRecord] = []
        self._dropped = 0
        self._progress: Progress | None = None
        self._annotations: list[AnnotationDraft] = []

    def log(self, level: LogLevel, message: str, metadata: Mapping[str, Json] | None = None) -> None:
        record = LogRecord(
            id=self._ids.new(),
            workflow_run_id=self._stage.workflow_run_id,
            level=level,
            message=plain(message),
            created_at=self._clock.now(),
            stage_id=self._stage.stage_id,
            stage_record_id=self._stage.id,
            metadata=plain(metadata) if metadata else None,
        )
        with self._lock:
            if len(self._logs) < MAX_BUFFERED_LOGS:
                self._logs.append(record)
            else:
                self._dropped += 1

    def progress(self, progress: float, message: str | None = None, details: Json = None) -> None:
        with self._lock:
            self._progress = Progress(progress, plain(message), plain(details), self._clock.now())

    def annotate(
        self,
        *,
        attributes: Mapping[str, Json],
        actor: Any = None,
        payload: Json = None,
        idempotency_key: str | None = None,
        emit_event: bool = False,
    ) -> None:
        given = AnnotationInput(
            attributes=checked(attributes, "annotation"),
            actor=ActorInput(kind=actor.kind, id=actor.id, version=actor.version) if actor else None,
            payload=checked(payload, "annotation payload"),
            idempotency_key=idempotency_key,
            emit_event=emit_event,
        )
        drafts = annotation_drafts(given, self._blank_annotation(), workflow_id=self._workflow_id, new_id=self._ids.new)
        with self._lock:
            self._annotations.extend(drafts)

    @property
    def stage(self) -> StageRecord:
        """The stage record as it was claimed."""
        return self._stage

    @property
    def workflow_id(self) -> str:
        return self._workflow_id

    @property
    def attempt(self) -> int:
        """The attempt number of the stage's job; 0 if it is not known."""
        return self._attempt

    @property
    def has_unwritten(self) -> bool:
        """Whether logs or progress wait for the next heartbeat."""
        with self._lock:
            return bool(self._logs) or self._progress is not None

    def take(self) -> Recorded:
        """Takes the buffered logs and progress, for a heartbeat or the finish."""
        with self._lock:
            logs, self._logs = tuple(self._logs), []
            progress, self._progress = self._progress, None
            dropped, self._dropped = self._dropped, 0
        if dropped:
            self.log(LogLevel.WARN, f"{dropped} log lines were dropped: more than {MAX_BUFFERED_LOGS} were waiting")
        return Recorded(logs=logs, progress=progress)

    def take_all(self) -> Recorded:
        """Takes logs and progress, and adds all annotations, for the finish."""
        recorded = self.take()
        return Recorded(logs=recorded.logs, progress=recorded.progress, annotations=self.annotations())

    def undo_take(self, recorded: Recorded) -> None:
        """Returns records that could not be written to the buffers. A newer progress is kept."""
        with self._lock:
            self._logs[:0] = recorded.logs
            self._progress = self._progress or recorded.progress

    def annotations(self) -> tuple[AnnotationDraft, ...]:
        with self._lock:
            return tuple(self._annotations)

    def _blank_annotation(self) -> AnnotationRecord:
        return AnnotationRecord(
            id="",
            workflow_run_id=self._stage.workflow_run_id,
            scope="stage",
            scope_id=self._stage.stage_id,
            generation=self._stage.generation,
            key="",
            value=None,
            created_at=self._clock.now(),
            stage_record_id=self._stage.id,
        )
