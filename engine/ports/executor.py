from dataclasses import dataclass
from typing import Any, Protocol

from engine.definition.context import StageContext
from engine.definition.stage import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """A stage body to run, with its context. `timeout` in seconds; None means no limit."""

    stage: Stage[Any, Any, Any]
    context: StageContext[Any, Any]
    timeout: float | None = None


class ActivityExecutor(Protocol):
    """Runs bodies, in this process or elsewhere.

    Returns the result of the body, unvalidated, or raises its error. An async body past its timeout is
    cancelled and `StageTimeout` raised; a sync body cannot be interrupted: its host enforces the time.
    """

    def run(self, activity: Activity) -> object: ...
