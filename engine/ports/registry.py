from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, Protocol

from engine.definition.workflow import Workflow
from engine.domain.errors import UnknownWorkflow


class Registry(Protocol):
    """The workflows of a deployment. `get_workflow` gives None for an unknown id; `list` gives ids in order."""

    def get_workflow(self, workflow_id: str) -> Workflow[Any, Any] | None: ...
    def list(self) -> Sequence[str]: ...


def find_workflow(workflow_id: str, registry: Registry) -> Workflow[Any, Any]:
    """The registered workflow. Raises `UnknownWorkflow` with the nearest id, or all ids."""
    workflow = registry.get_workflow(workflow_id)
    if workflow is not None:
        return workflow
    known = registry.list()
    close = get_close_matches(workflow_id, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known) or 'none'}"
    raise UnknownWorkflow(f"there is no workflow {workflow_id!r}; {hint}")
