"""The capabilities of a running body. The kernel implements them."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Protocol

from engine.conventions import Actor
from engine.domain.records import LogLevel
from engine.domain.values import Json


class Outputs(Protocol):
    """The outputs of the run's earlier groups, in order. `load` reads one, or raises `KeyError`."""

    def available(self) -> Sequence[str]: ...
    def load(self, stage_id: str) -> Json: ...


class Recorder(Protocol):
    """Records notes without I/O in the caller's thread. All values are JSON; `progress` is 0 to 1."""

    def log(self, level: LogLevel, message: str, metadata: Mapping[str, Json]) -> None: ...
    def progress(self, progress: float, message: str | None, details: Json) -> None: ...
    def annotate(
        self,
        *,
        attributes: Mapping[str, Json],
        actor: Actor | None,
        payload: Json,
        idempotency_key: str | None,
        emit_event: bool,
    ) -> None: ...


class Storage(Protocol):
    """The blobs of the run.

    `name` is a short name, in a folder that all attempts of this stage and generation share, or a key from
    `get_stage_key`, which any stage of the run may read. Saving overwrites and gives the key. Reading a missing blob
    raises `BlobNotFound`; deleting one is a no-op. A key outside the run's folder raises `InvalidBlobKey`.
    """

    def get_stage_key(self, name: str) -> str: ...
    def save(self, name: str, value: Json) -> str: ...
    def load(self, name: str) -> Json: ...
    def exists(self, name: str) -> bool: ...
    def delete(self, name: str) -> None: ...
    def save_bytes(self, name: str, data: bytes, content_type: str = ...) -> str: ...
    def load_bytes(self, name: str) -> bytes: ...
    def save_file(self, name: str, path: Path, content_type: str = ...) -> str: ...
    def open(self, name: str) -> AbstractContextManager[BinaryIO]: ...


class Cancellation(Protocol):
    """True when the run was cancelled, as of the last heartbeat."""

    @property
    def cancelled(self) -> bool: ...
