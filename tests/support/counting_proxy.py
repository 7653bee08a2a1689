"""A TCP proxy that counts the statements and round trips between a client and a PostgreSQL server."""

import selectors
import socket
import threading
from types import TracebackType
from typing import Self


class CountingProxy:
    """Forwards connections without TLS to a port on loopback.

    A round trip is data from the client followed by data from the server. A statement is a CommandComplete message.
    """

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.round_trips = self.statements = 0
        self._closed = False
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        for each in (self._listener, *self._sockets):
            each.close()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._target)
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets += [client, server]
            threading.Thread(target=self._forward, args=(client, server), daemon=True).start()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        asked, answers = False, CompletedStatements()
        with selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ, server)
            selector.register(server, selectors.EVENT_READ, client)
            while True:
                for key, _ in selector.select():
                    source, sink = key.fileobj, key.data
                    assert isinstance(source, socket.socket)
                    try:
                        data = source.recv(65536)
                        if source is client:
                            asked = True
                        else:
                            # Counted before the client receives the answer, because it may then read the counts.
                            self.round_trips += asked
                            asked = False
                            self.statements += answers.count(data)
                        sink.sendall(data)
                    except OSError:
                        return
                    if not data:
                        return


class CompletedStatements:
    """Reads the server's side of the protocol: messages of a type byte and a length that includes itself."""

    def __init__(self) -> None:
        self._rest = b""

    def count(self, data: bytes) -> int:
        """Counts the CommandComplete messages that end in this piece of the stream."""
        self._rest += data
        found = 0
        while len(self._rest) >= 5 and len(self._rest) > (length := int.from_bytes(self._rest[1:5])):
            found += self._rest[:1] == b"C"
            self._rest = self._rest[1 + length :]
        return found
