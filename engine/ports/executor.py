from dataclasses import dataclass
from typing import Any, Protocol

from engine.definition.context import StageContext
from engine.definition.stage import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """One stage body to run, with the context it gets. `timeout` in seconds; None means no limit."""

    stage: Stage[Any, Any, Any]
    context: StageContext[Any, Any]
    timeout: float | None = None


class ActivityExecutor(Protocol):
    """Decides where a body runs.

    Gives back what the body returned, unvalidated, or raises what it raised. An async body past its timeout is
    cancelled and `StageTimeout` raised; a sync body cannot be interrupted: its host enforces the time.
    """

    def run(self, activity: Activity) -> object: ...
