from collections.abc import Sequence
from typing import Any, Protocol

from engine.definition.workflow import Workflow


class Registry(Protocol):
    """The workflows of a deployment. `get_workflow` gives None for an unknown id; `list` gives ids in order."""

    def get_workflow(self, workflow_id: str) -> Workflow[Any, Any] | None: ...
    def list(self) -> Sequence[str]: ...
