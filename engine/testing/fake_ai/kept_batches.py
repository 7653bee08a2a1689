"""The storage of all providers' batches: a folder in which they outlive the process that submitted them."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

from engine.domain.values import Json

FAILING = "please fail"
"""An item whose question contains this gets an error."""


class Refused(Exception):
    """The provider answers the request with this status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class KeptBatches:
    """A batch is done `seconds` after it was submitted."""

    folder: Path
    seconds: float

    def keep(self, prefix: str, document: Json) -> str:
        """Gives the new batch's id."""
        batch_id = f"{prefix}{token_hex(8)}"
        self._path(batch_id).write_text(json.dumps({"created_at": time.time(), "document": document}))
        return batch_id

    def find(self, batch_id: str) -> tuple[Any, bool]:
        """The stored batch, and True when it is done. Raises `Refused`."""
        try:
            kept = json.loads(self._path(batch_id).read_text())
        except OSError as error:
            raise Refused(404, f"no batch {batch_id!r}") from error
        return kept["document"], time.time() >= kept["created_at"] + self.seconds

    def _path(self, batch_id: str) -> Path:
        return self.folder / f"{Path(batch_id).name}.json"


def fails(question: Json) -> bool:
    return FAILING in json.dumps(question).lower()
