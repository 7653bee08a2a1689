"""The workflows of a deployment. Each is imported at its first use."""

import sys
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from engine.definition.workflow import Workflow
from engine.domain.errors import EngineError, SettingsError
from engine.settings import Settings


class WorkflowRegistry:
    """Workflows by id. Each is imported at its first use."""

    def __init__(self, targets: Mapping[str, str], pool_timeouts: Mapping[str, float] | None = None) -> None:
        self._targets, self._pool_timeouts = dict(targets), pool_timeouts
        self._loaded: dict[str, Workflow[Any, Any]] = {}

    def get_workflow(self, workflow_id: str) -> Workflow[Any, Any] | None:
        if workflow_id not in self._loaded and workflow_id in self._targets:
            workflow = _workflow(workflow_id, self._targets[workflow_id])
            if self._pool_timeouts is not None:
                _check_pools(workflow, self._pool_timeouts)
            self._loaded[workflow_id] = workflow
        return self._loaded.get(workflow_id)

    def list(self) -> Sequence[str]:
        return tuple(sorted(self._targets))


def _workflow(workflow_id: str, target: str) -> Workflow[Any, Any]:
    workflow = _attribute(target, f"workflow {workflow_id!r}")
    if not isinstance(workflow, Workflow):
        raise SettingsError(f"workflow {workflow_id!r}: {target} is not a workflow; end its definition with .build()")
    if workflow.id != workflow_id:
        raise SettingsError(f"workflow {workflow_id!r}: {target} has the id {workflow.id!r}; use one id for both")
    return workflow


def _check_pools(workflow: Workflow[Any, Any], pool_timeouts: Mapping[str, float]) -> None:
    for stage in workflow.get_all_stages():
        what = f"stage {stage.id!r} of workflow {workflow.id!r}"
        if stage.pool not in pool_timeouts:
            raise SettingsError(f"{what} wants pool {stage.pool!r}; ENGINE_POOLS has {', '.join(pool_timeouts)}")
        limit = pool_timeouts[stage.pool]
        if stage.timeout is not None and stage.timeout.total_seconds() > limit:
            raise SettingsError(
                f"{what} may take {stage.timeout.total_seconds():g} s, but its pool {stage.pool!r} leaves {limit:g} s; "
                "shorten it, raise the pool's timeout, or let the stage suspend"
            )


def load_registry(settings: Settings, pool_timeouts: Mapping[str, float] | None = None) -> WorkflowRegistry:
    """The registry that `ENGINE_REGISTRY` names. Raises `SettingsError` when it cannot be imported or is no mapping.

    With `pool_timeouts`, getting a workflow also raises it when a stage's pool is missing or its timeout too short.
    """
    code = str(settings.code.resolve())
    if code not in sys.path:
        sys.path.insert(0, code)
    targets = _attribute(settings.registry, "ENGINE_REGISTRY")
    if not isinstance(targets, Mapping):
        raise SettingsError(
            f"ENGINE_REGISTRY: {settings.registry} is a {type(targets).__name__}; it must map workflow ids to "
            '"module:attribute"'
        )
    return WorkflowRegistry(targets, pool_timeouts)


def _attribute(target: object, what: str) -> object:
    module, _, attribute = target.partition(":") if isinstance(target, str) else ("", "", "")
    if not module or not attribute:
        raise SettingsError(f'{what}: {target!r} is not of the form "module:attribute"')
    try:
        imported = import_module(module)
    except ModuleNotFoundError as error:
        raise SettingsError(f"{what}: {target} cannot be imported ({error}); is it on the Python path?") from error
    except EngineError:
        raise
    except Exception as error:  # a user's module may raise anything
        raise SettingsError(f"{what}: {target} cannot be imported ({_described(error)})") from error
    try:
        found: object = getattr(imported, attribute)
    except AttributeError as error:
        raise SettingsError(f"{what}: module {module} has no {attribute!r}") from error
    return found


def _described(error: Exception) -> str:
    """The error and its line. A syntax error names its line itself."""
    message = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError):
        return message
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{message}, at {last.filename}:{last.lineno}"
