"""A TCP proxy that loses a connection at the worst moment."""

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self


class CuttingProxy:
    """Forwards connections to a port on loopback, each by two threads.

    `lose_answer_to(text)` lets the next message that holds the text through and cuts the connection when its answer
    comes; `lose_message(text)` cuts it before the server hears anything.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.cuts = 0
        self._text: bytes | None = None
        self._lose_message = False
        self._sockets: list[socket.socket] = []

    def lose_answer_to(self, text: bytes) -> None:
        self._text, self._lose_message = text, False

    def lose_message(self, text: bytes) -> None:
        self._text, self._lose_message = text, True

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in (self._listener, *self._sockets):
            _end(each)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            self._sockets += [client, server]
            doomed = threading.Event()
            for work in (self._requests, self._answers):
                threading.Thread(target=work, args=(client, server, doomed), daemon=True).start()

    def _requests(self, client: socket.socket, server: socket.socket, doomed: threading.Event) -> None:
        while data := _received(client):
            if self._text is not None and self._text in data:
                self._text = None
                self.cuts += 1
                if self._lose_message:
                    break
                doomed.set()
            _sent(server, data)
        _end(client)
        _end(server)

    def _answers(self, client: socket.socket, server: socket.socket, doomed: threading.Event) -> None:
        while (data := _received(server)) and not doomed.is_set():
            _sent(client, data)
        _end(client)
        _end(server)


def _received(source: socket.socket) -> bytes:
    try:
        return source.recv(65536)
    except OSError:
        return b""


def _sent(sink: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):
        sink.sendall(data)


def _end(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
