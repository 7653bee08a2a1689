"""The process of a sandbox: loads one handler, and invokes it with one event at a time, as Lambda does.

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
    """Parent to sandbox: an invocation. `timeout` is in seconds from its arrival."""

    request_id: str
    event: dict[str, Any]
    timeout: float


@dataclass(frozen=True, slots=True)
class Ready:
    """Sandbox to parent: the handler is loaded. Loading does not count as an invocation's time."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Sandbox to parent: the handler's answer."""

    value: Any


@dataclass(frozen=True, slots=True)
class Raised:
    """Sandbox to parent: the error of the handler, or of loading it."""

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
        # Signals are handled between waits, so each wait has a limit.
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
            os._exit(1)  # the parent is gone, so the process must end


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
    # Imported under its own name, so that the parent can unpickle its classes.
    import_module("engine.localcloud.sandbox_main").main(Connection(int(sys.argv[1])), *sys.argv[2:4])
