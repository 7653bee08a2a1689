"""What runs in a sandbox: one handler, loaded once, invoked one event at a time, as Lambda does it.

python -m engine.localcloud.sandbox_main FD NAME module.function
"""

import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any


@dataclass(frozen=True, slots=True)
class Invoke:
    """Parent to sandbox. `timeout` in seconds from its arrival."""

    request_id: str
    event: dict[str, Any]
    timeout: float


@dataclass(frozen=True, slots=True)
class Ready:
    """Sandbox to parent: the handler is loaded. Loading takes none of an invocation's time."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Sandbox to parent: what the handler returned."""

    value: Any


@dataclass(frozen=True, slots=True)
class Raised:
    """Sandbox to parent: what the handler, or loading it, raised."""

    kind: str
    message: str


class Context:
    """The second argument of a handler."""

    function_version = "$LATEST"
    memory_limit_in_mb = 1024
    log_stream_name = "local"

    def __init__(self, function_name: str, request_id: str, timeout: float) -> None:
        self.function_name, self.aws_request_id = function_name, request_id
        self.invoked_function_arn = f"arn:aws:lambda:us-east-1:000000000000:function:{function_name}"
        self.log_group_name = f"/aws/lambda/{function_name}"
        self._end = time.monotonic() + timeout

    def get_remaining_time_in_millis(self) -> int:
        return max(0, round((self._end - time.monotonic()) * 1000))


type Handler = Callable[[dict[str, Any], Context], Any]


def main(connection: Connection, name: str, target: str) -> None:
    handler = _tried(lambda: _load(target))
    if isinstance(handler, Raised):
        connection.send(handler)
        return
    connection.send(Ready())
    invocations: queue.SimpleQueue[Invoke] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, invocations), daemon=True).start()
    while True:
        # A wait with a limit lets signals in.
        try:
            invocation = invocations.get(timeout=1.0)
        except queue.Empty:
            continue
        context = Context(name, invocation.request_id, invocation.timeout)
        connection.send(_tried(partial(_answer, handler, invocation.event, context)))


def _listen(connection: Connection, invocations: "queue.SimpleQueue[Invoke]") -> None:
    while True:
        try:
            invocations.put(connection.recv())
        except (EOFError, OSError):
            os._exit(1)  # whoever invokes is gone, so nobody may go on here


def _answer(handler: Handler, event: dict[str, Any], context: Context) -> Answer:
    return Answer(handler(event, context))


def _load(target: str) -> Handler:
    module, _, function = target.rpartition(".")
    handler: Handler = getattr(import_module(module), function)
    return handler


def _tried[T](foreign: Callable[[], T]) -> T | Raised:
    try:
        return foreign()
    except Exception as error:  # noqa: BLE001 - the boundary of foreign code, as in Lambda's own runtime
        traceback.print_exc()
        return Raised(type(error).__name__, str(error))


if __name__ == "__main__":
    # Under its own name, so that what is pickled here is known there.
    import_module("engine.localcloud.sandbox_main").main(Connection(int(sys.argv[1])), *sys.argv[2:4])
