"""The server: HTTP/1.1 on loopback, a thread for each connection."""

import json
import socket
import tempfile
import threading
import time
from collections import deque
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from engine.domain.values import Json
from engine.testing.fake_ai.anthropic_batches import AnthropicBatchesAPI
from engine.testing.fake_ai.batches import Batches
from engine.testing.fake_ai.chat import Scripted, completion, embeddings, stream
from engine.testing.fake_ai.google_batches import GoogleBatchesAPI
from engine.testing.fake_ai.kept_batches import KeptBatches, Refused

BEFORE_CUT = 0.5
"""Seconds between the last chunk and the cut, because a client drops unread chunks when the connection breaks."""


class FakeAIServer:
    """An OpenAI-compatible server for chat (also streamed and with tools), embeddings, files and batches. It also has
    the batch APIs of Anthropic (under `url`) and of Google (under `google_url`).

    Answers are made up from the questions. `say` scripts the next answers, and `requests` lists the requests. Files and
    batches are kept in `folder`, and a batch takes `batch_seconds`.
    """

    def __init__(self, folder: Path | None = None, *, batch_seconds: float = 0.0, port: int = 0) -> None:
        self._temporary = tempfile.TemporaryDirectory() if folder is None else None
        home = folder or Path(self._temporary.name if self._temporary else ".")
        home.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # the engine's home, if this is the first in it
        home.mkdir(exist_ok=True)
        self.batches = Batches(home, batch_seconds)
        kept = KeptBatches(home, batch_seconds)
        self.anthropic, self.google = AnthropicBatchesAPI(kept), GoogleBatchesAPI(kept)
        self.requests: list[tuple[str, Mapping[str, Any]]] = []
        self._scripts: deque[Scripted] = deque()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler_of(self))
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    @property
    def google_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1beta"

    def say(self, *scripts: Scripted) -> None:
        """Scripts the answers of the next chats, in order."""
        self._scripts.extend(scripts)

    def next_script(self) -> Scripted:
        try:
            return self._scripts.popleft()
        except IndexError:
            return Scripted()

    def chats(self) -> list[Mapping[str, Any]]:
        return [body for path, body in self.requests if path.endswith("/chat/completions")]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="fake-ai", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        if self._temporary is not None:
            self._temporary.cleanup()


def _handler_of(fake: FakeAIServer) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        server_of_fakes = fake

    return Handler


class _Handler(BaseHTTPRequestHandler):
    server_of_fakes: FakeAIServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 — the name it has in the standard library
        """Suppresses the log."""

    def do_GET(self) -> None:
        try:
            self._get(self.path.strip("/").split("/"))
        except Refused as refused:
            self._refuse(refused.status, str(refused))

    def do_POST(self) -> None:
        fake, path = self.server_of_fakes, self.path.split("?")[0]
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if path.endswith("/files"):
            self._answer(200, fake.batches.upload(body, self.headers["Content-Type"]))
            return
        request = json.loads(body)
        fake.requests.append((path, request))
        try:
            self._post(path.strip("/").split("/"), request)
        except Refused as refused:
            self._refuse(refused.status, str(refused))

    def _get(self, parts: list[str]) -> None:
        fake = self.server_of_fakes
        match parts:
            case [_, "messages", "batches", batch_id, "results"]:
                self._send(200, "application/x-jsonl", fake.anthropic.results(batch_id, self._given()))
            case [_, "messages", "batches", batch_id]:
                self._answer(200, fake.anthropic.get(batch_id, self._given()))
            case ["v1beta", "batches", batch_id]:
                self._answer(200, fake.google.get(batch_id, self._given()))
            case [_, "batches", batch_id]:
                self._answer(200, fake.batches.get(batch_id))
            case [_, "files", file_id, "content"]:
                self._send(200, "application/jsonl", fake.batches.content(file_id))
            case _:
                raise Refused(404, f"nothing at {self.path}")

    def _post(self, parts: list[str], request: Mapping[str, Any]) -> None:
        fake = self.server_of_fakes
        match parts:
            case [_, "chat", "completions"]:
                self._chat(request, fake.next_script())
            case [_, "embeddings"]:
                self._answer(200, embeddings(request))
            case [_, "messages", "batches"]:
                self._answer(200, fake.anthropic.create(request, self._given()))
            case [_, "models", method] if method.endswith(":batchGenerateContent"):
                self._answer(200, fake.google.create(method.partition(":")[0], request, self._given()))
            case [_, "batches"]:
                self._answer(200, fake.batches.create(request))
            case _:
                raise Refused(404, f"nothing at {self.path}")

    def _given(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.headers.items()}

    def _chat(self, request: Mapping[str, Any], script: Scripted) -> None:
        time.sleep(script.delay)
        if script.status >= 400:
            self._refuse(script.status, script.text or "scripted failure")
        elif request.get("stream"):
            self._stream(request, script)
        else:
            self._answer(200, completion(request, script))

    def _stream(self, request: Mapping[str, Any], script: Scripted) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for number, piece in enumerate(stream(request, script)):
                if script.cut is not None and number >= script.cut:
                    time.sleep(BEFORE_CUT)
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_WR)
                    return
                self._chunk(f"data: {json.dumps(piece)}\n\n".encode())
            self._chunk(b"data: [DONE]\n\n")
            self._chunk(b"")
        except OSError:
            self.close_connection = True  # the client closed the connection

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _refuse(self, status: int, message: str) -> None:
        self._answer(status, {"error": {"message": message, "type": "fake", "code": None}})

    def _answer(self, status: int, document: Json) -> None:
        self._send(status, "application/json", json.dumps(document).encode())

    def _send(self, status: int, content_type: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        try:
            self.end_headers()
            self.wfile.write(content)
        except OSError:
            self.close_connection = True  # the client disconnected
