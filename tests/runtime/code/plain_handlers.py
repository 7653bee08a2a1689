"""Handlers without an engine, for the tests of the Runtime API server."""

import os
import signal
import sys
import time
from typing import Any

PROCESS = {"invocations": 0}


def echo(event: Any, context: Any) -> dict[str, Any]:
    PROCESS["invocations"] += 1
    return {
        "event": event,
        "request_id": context.aws_request_id,
        "remaining": context.get_remaining_time_in_millis(),
        "memory": context.memory_limit_in_mb,
        "invocations": PROCESS["invocations"],
        "pid": os.getpid(),
        "path": sys.path,
        "environment": sorted(os.environ),
    }


def fail(event: Any, _context: Any) -> None:
    raise LookupError(f"no {event}")


def leave(event: Any, _context: Any) -> None:
    os._exit(event)


def sleep(event: float, _context: Any) -> float:
    signal.signal(signal.SIGTERM, _last_words)
    sys.stdout.write("asleep\n")
    sys.stdout.flush()
    time.sleep(event)
    return event


def _last_words(_number: int, _frame: object) -> None:
    sys.stdout.write("good night\n")
    sys.stdout.flush()
    os._exit(0)
