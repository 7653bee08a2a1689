"""Clients of an engine: the same commands and reads, wherever its runs are."""

from dataclasses import dataclass
from typing import Protocol, overload

from engine.kernel.commands import (
    Command,
    OutboxFlush,
    OutboxFlushResult,
    PluginReplayDLQ,
    PluginReplayDLQResult,
    RunCancel,
    RunCancelResult,
    RunCreate,
    RunCreateResult,
    RunRerunFrom,
    RunRerunFromResult,
)
from engine.kernel.kernel import Kernel
from engine.ports.reads import Reads
from engine.ports.registry import Registry
from engine.reading.reads import StoredReads


class Client(Protocol):
    """Reads runs and sends the commands of a person. Workers and maintenance use a kernel instead.

    `registry` has the workflows that this machine knows; those of the engine may be newer.
    """

    @property
    def reads(self) -> Reads: ...
    @property
    def registry(self) -> Registry: ...

    @overload
    def dispatch(self, command: RunCreate) -> RunCreateResult: ...
    @overload
    def dispatch(self, command: RunCancel) -> RunCancelResult: ...
    @overload
    def dispatch(self, command: RunRerunFrom) -> RunRerunFromResult: ...
    @overload
    def dispatch(self, command: PluginReplayDLQ) -> PluginReplayDLQResult: ...
    @overload
    def dispatch(self, command: OutboxFlush) -> OutboxFlushResult: ...


@dataclass(frozen=True, slots=True)
class KernelClient:
    """A client of a kernel in this process."""

    kernel: Kernel

    @property
    def reads(self) -> StoredReads:
        return self.kernel.reads

    @property
    def registry(self) -> Registry:
        return self.kernel.deps.registry

    def dispatch[R](self, command: Command[R]) -> R:
        return self.kernel.dispatch(command)
