"""The dispatcher: a command in, its result out."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, overload

from engine.domain.errors import InvalidInput
from engine.domain.lifecycle import RunStatus
from engine.execution.attempt import Attempt
from engine.execution.perform import perform
from engine.kernel.annotations import Annotations
from engine.kernel.commands import Command, parse_command
from engine.kernel.host_commands import Internal
from engine.kernel.notifying import notification
from engine.kernel.routes import ROUTES
from engine.ports.deps import Deps
from engine.ports.job_transport import JobNotification
from engine.ports.transaction import Tx
from engine.reading.reads import StoredReads
from engine.transitions.facts import Outcome


class Kernel:
    """Executes commands over the ports in `deps`. Holds no state, no thread, no timer; safe to share between threads.

    `annotations` attaches and lists facts about runs; `reads` is the read side.
    """

    def __init__(self, deps: Deps) -> None:
        self.deps = deps
        self.annotations = Annotations(deps)
        self.reads = StoredReads(deps.persistence, deps.blob_store)

    @overload
    def dispatch[R](self, command: Command[R] | Internal[R]) -> R: ...
    @overload
    def dispatch(self, command: Mapping[str, Any]) -> Any: ...
    def dispatch(self, command: Command[Any] | Internal[Any] | Mapping[str, Any]) -> Any:
        """Executes a command object, or its JSON form, and gives its result.

        Raises the `EngineError` that says why nothing was done: `InvalidInput` (with every problem), `NotFound`, a
        `RefusedError`, or `StoreUnavailable`.
        """
        if isinstance(command, Mapping):
            command = parse_command(command)
        route = ROUTES.get(type(command))
        if route is None:
            raise InvalidInput(f"{command!r} is no command; give one of engine.kernel, or its JSON form")
        return route(command, self.deps)

    def overdue_jobs(self, limit: int, *, older_than: float) -> Sequence[JobNotification]:
        """Notifications for jobs that have been due for so many seconds, in pools this deployment has."""

        def read(tx: Tx) -> Sequence[JobNotification]:
            before = tx.now() - timedelta(seconds=older_than)
            due = tx.jobs.due(tuple(self.deps.pool_timeouts), limit)
            return [notification(job, tx.runs.get(job.workflow_run_id)) for job in due if job.due_at <= before]

        return self.deps.persistence.read(read)

    def is_unwanted(self, attempt: Attempt) -> bool:
        """Whether the attempt's run is cancelled, over, or failing, so that its body should stop."""
        run = self.deps.persistence.read(lambda tx: tx.runs.find(attempt.claim.run.id))
        return run is None or run.status is not RunStatus.RUNNING or run.failure_code is not None

    def timeout_of(self, attempt: Attempt) -> float | None:
        """Seconds the attempt's body may take; None means no limit."""
        workflow = self.deps.registry.get_workflow(attempt.claim.run.workflow_id)
        stage = workflow.get_stage(attempt.claim.stage.stage_id) if workflow else None
        return self.deps.timeout_of(stage) if stage else None

    def perform(self, attempt: Attempt) -> Outcome:
        """Runs the body of a claimed stage; commits nothing. What the body raises is its outcome; `StoreUnavailable`,
        and the error of code that cannot be loaded, are raised."""
        return perform(attempt, self.deps)
