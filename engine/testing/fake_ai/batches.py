"""OpenAI's API of files and batches. They are kept in a folder and outlive the process that submitted them."""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email import message_from_bytes
from email.policy import HTTP
from pathlib import Path
from secrets import token_hex
from typing import Any

from engine.domain.values import Json
from engine.testing.fake_ai.chat import Scripted, completion
from engine.testing.fake_ai.kept_batches import Refused, fails


@dataclass(frozen=True, slots=True)
class Batches:
    """A batch is done `seconds` after it was submitted."""

    folder: Path
    seconds: float = 0.0

    def upload(self, body: bytes, content_type: str) -> dict[str, Json]:
        form = message_from_bytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body, policy=HTTP)
        parts = list(form.iter_parts())
        file = next(part for part in parts if part.get_filename())
        content: Any = file.get_payload(decode=True)
        return self._keep(f"file-{token_hex(8)}", content)

    def content(self, file_id: str) -> bytes:
        """Raises `Refused`."""
        try:
            return self._path(file_id).read_bytes()
        except OSError as error:
            raise Refused(404, f"no file or batch {file_id!r}") from error

    def create(self, request: Mapping[str, Any]) -> dict[str, Json]:
        batch_id = f"batch_{token_hex(8)}"
        record = {"id": batch_id, "input_file_id": request["input_file_id"], "created_at": time.time()}
        self._path(batch_id).write_text(json.dumps(record))
        return self.get(batch_id)

    def get(self, batch_id: str) -> dict[str, Json]:
        record = json.loads(self.content(batch_id))
        batch = {**record, "object": "batch", "endpoint": "/v1/chat/completions", "status": "in_progress"}
        if time.time() < record["created_at"] + self.seconds:
            return batch
        done, failed = self._answers(record["input_file_id"])
        return {
            **batch,
            "status": "completed",
            "output_file_id": self._keep(f"{batch_id}-output", _lines(done))["id"] if done else None,
            "error_file_id": self._keep(f"{batch_id}-errors", _lines(failed))["id"] if failed else None,
            "request_counts": {"total": len(done) + len(failed), "completed": len(done), "failed": len(failed)},
        }

    def requests(self, file_id: str) -> Iterator[dict[str, Any]]:
        return (json.loads(line) for line in self.content(file_id).splitlines() if line.strip())

    def _answers(self, file_id: str) -> tuple[list[Json], list[Json]]:
        done: list[Json] = []
        failed: list[Json] = []
        for line in self.requests(file_id):
            if fails(line["body"]["messages"]):
                error = {"message": "the model would not", "code": "server_error"}
                failed.append({"custom_id": line["custom_id"], "response": None, "error": error})
                continue
            response = {"status_code": 200, "body": completion(line["body"], Scripted())}
            done.append({"custom_id": line["custom_id"], "response": response, "error": None})
        return done, failed

    def _keep(self, file_id: str, content: bytes) -> dict[str, Json]:
        self._path(file_id).write_bytes(content)
        return {"id": file_id, "object": "file", "bytes": len(content), "purpose": "batch"}

    def _path(self, name: str) -> Path:
        return self.folder / Path(name).name


def _lines(documents: list[Json]) -> bytes:
    return "".join(f"{json.dumps(each)}\n" for each in documents).encode()
