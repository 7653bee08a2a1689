"""The in-memory capabilities of a context for tests."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from pydantic_core import from_json, to_json

from engine.conventions import Actor
from engine.domain.errors import BlobNotFound
from engine.domain.records import LogLevel
from engine.domain.values import Json, as_json


@dataclass(frozen=True, slots=True)
class LogEntry:
    level: LogLevel
    message: str
    metadata: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class ProgressEntry:
    progress: float
    message: str | None
    details: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotationEntry:
    attributes: Mapping[str, Json]
    actor: Actor | None = None
    payload: Json = None
    idempotency_key: str | None = None
    emit_event: bool = False


@dataclass(slots=True)
class MemoryRecorder:
    """Keeps the notes of a body in order."""

    logs: list[LogEntry] = field(default_factory=list)
    progresses: list[ProgressEntry] = field(default_factory=list)
    annotations: list[AnnotationEntry] = field(default_factory=list)

    def log(self, level: LogLevel, message: str, metadata: Mapping[str, Json]) -> None:
        self.logs.append(LogEntry(level, message, metadata))

    def progress(self, progress: float, message: str | None, details: Json) -> None:
        self.progresses.append(ProgressEntry(progress, message, details))

    def annotate(
        self,
        *,
        attributes: Mapping[str, Json],
        actor: Actor | None,
        payload: Json,
        idempotency_key: str | None,
        emit_event: bool,
    ) -> None:
        self.annotations.append(
            AnnotationEntry(
                attributes=attributes,
                actor=actor,
                payload=payload,
                idempotency_key=idempotency_key,
                emit_event=emit_event,
            )
        )

    @property
    def attributes(self) -> Mapping[str, Json]:
        """The last value under each key."""
        return {key: value for entry in self.annotations for key, value in entry.attributes.items()}


@dataclass(frozen=True, slots=True)
class MemoryStorage:
    """The stage's blobs as a dict of bytes by key."""

    prefix: str = "test/"
    blobs: dict[str, bytes] = field(default_factory=dict)

    def get_stage_key(self, name: str) -> str:
        return name if name.startswith(self.prefix) else f"{self.prefix}{name}"

    def save(self, name: str, value: Json) -> str:
        return self.save_bytes(name, to_json(as_json(value)))

    def load(self, name: str) -> Json:
        return from_json(self.load_bytes(name))

    def exists(self, name: str) -> bool:
        return self.get_stage_key(name) in self.blobs

    def delete(self, name: str) -> None:
        self.blobs.pop(self.get_stage_key(name), None)

    def save_bytes(self, name: str, data: bytes, content_type: str = "") -> str:  # noqa: ARG002 — the port has it
        self.blobs[self.get_stage_key(name)] = data
        return self.get_stage_key(name)

    def load_bytes(self, name: str) -> bytes:
        try:
            return self.blobs[self.get_stage_key(name)]
        except KeyError:
            raise BlobNotFound(self.get_stage_key(name)) from None

    def save_file(self, name: str, path: Path, content_type: str = "") -> str:
        return self.save_bytes(name, path.read_bytes(), content_type)

    def open(self, name: str) -> AbstractContextManager[BinaryIO]:
        return nullcontext(BytesIO(self.load_bytes(name)))


@dataclass(frozen=True, slots=True)
class MemoryOutputs:
    outputs: Mapping[str, Json] = field(default_factory=dict)

    def available(self) -> Sequence[str]:
        return tuple(self.outputs)

    def load(self, stage_id: str) -> Json:
        return self.outputs[stage_id]


@dataclass(slots=True)
class MemoryCancellation:
    cancelled: bool = False
