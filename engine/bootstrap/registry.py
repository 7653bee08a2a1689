"""The workflows of a deployment, each imported when it is first asked for."""

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from engine.definition.workflow import Workflow
from engine.domain.errors import SettingsError
from engine.settings import Settings


class WorkflowRegistry:
    """Workflows by id, each imported when it is first asked for."""

    def __init__(self, targets: Mapping[str, str]) -> None:
        self._targets = dict(targets)
        self._loaded: dict[str, Workflow[Any, Any]] = {}

    def get_workflow(self, workflow_id: str) -> Workflow[Any, Any] | None:
        if workflow_id not in self._loaded and workflow_id in self._targets:
            self._loaded[workflow_id] = _workflow(workflow_id, self._targets[workflow_id])
        return self._loaded.get(workflow_id)

    def list(self) -> Sequence[str]:
        return tuple(sorted(self._targets))


def _workflow(workflow_id: str, target: str) -> Workflow[Any, Any]:
    workflow = _attribute(target, f"workflow {workflow_id!r}")
    if not isinstance(workflow, Workflow):
        raise SettingsError(f"workflow {workflow_id!r}: {target} is no workflow; end its definition with .build()")
    if workflow.id != workflow_id:
        raise SettingsError(f"workflow {workflow_id!r}: {target} has the id {workflow.id!r}; use one id for both")
    return workflow


def load_registry(settings: Settings) -> WorkflowRegistry:
    """The registry that `ENGINE_REGISTRY` names. Raises `SettingsError` when it cannot be imported or is no mapping."""
    code = str(settings.code.resolve())
    if code not in sys.path:
        sys.path.insert(0, code)
    targets = _attribute(settings.registry, "ENGINE_REGISTRY")
    if not isinstance(targets, Mapping):
        raise SettingsError(
            f"ENGINE_REGISTRY: {settings.registry} is a {type(targets).__name__}; it must map workflow ids to "
            '"module:attribute"'
        )
    return WorkflowRegistry(targets)


def _attribute(target: str, what: str) -> object:
    module, _, attribute = target.partition(":")
    try:
        found: object = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise SettingsError(f"{what}: {target} cannot be imported ({error}); is it on the Python path?") from error
    except AttributeError as error:
        raise SettingsError(f"{what}: module {module} has no {attribute!r}") from error
    return found
