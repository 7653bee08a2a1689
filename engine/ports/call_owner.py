from typing import Protocol

from engine.domain.records import StageRecord


class CallOwner(Protocol):
    """The stage attempt that owns the calls. The recorder of an attempt is one."""

    @property
    def stage(self) -> StageRecord: ...
    @property
    def workflow_id(self) -> str: ...
    @property
    def attempt(self) -> int: ...
