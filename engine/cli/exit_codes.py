"""The exit codes of the process. Scripts depend on these numbers."""

from collections.abc import Mapping
from enum import IntEnum

from engine.domain.lifecycle import Status


class ExitCode(IntEnum):
    COMPLETED = 0
    FAILED = 1
    USAGE = 2
    CANCELLED = 3
    NOT_REACHABLE = 4
    TIMEOUT = 5
    INTERRUPTED = 130


OF_STATUS: Mapping[Status, ExitCode] = {
    Status.COMPLETED: ExitCode.COMPLETED,
    Status.FAILED: ExitCode.FAILED,
    Status.CANCELLED: ExitCode.CANCELLED,
}
"""The exit codes of ended runs."""
