"""The dispatcher of commands."""

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

    `annotations` attaches and lists annotations; `reads` is the read side.
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
        """Executes a command object, or its JSON form, and returns its result.

        Raises `InvalidInput` (with every problem), `NotFound`, a `RefusedError` or `StoreUnavailable`.
        """
        if isinstance(command, Mapping):
            command = parse_command(command)
        route = ROUTES.get(type(command))
        if route is None:
            raise InvalidInput(f"{command!r} is not a command; pass one of engine.kernel, or its JSON form")
        return route(command, self.deps)

    def overdue_jobs(self, limit: int, *, older_than: float) -> Sequence[JobNotification]:
        """Notifications for jobs that have been due for `older_than` seconds, in the pools of this deployment."""

        def read(tx: Tx) -> Sequence[JobNotification]:
            before = tx.now() - timedelta(seconds=older_than)
            due = tx.jobs.due(tuple(self.deps.pool_timeouts), limit)
            return [notification(job, tx.runs.get(job.workflow_run_id)) for job in due if job.due_at <= before]

        return self.deps.persistence.read(read)

    def is_unwanted(self, attempt: Attempt) -> bool:
        """Whether the body should stop, because its run has ended or is failing."""
        run = self.deps.persistence.read(lambda tx: tx.runs.find(attempt.claim.run.id))
        return run is None or run.status is not RunStatus.RUNNING or run.failure_code is not None

    def timeout_of(self, attempt: Attempt) -> float | None:
        """The timeout of the attempt's body in seconds; None means no limit."""
        workflow = self.deps.registry.get_workflow(attempt.claim.run.workflow_id)
        stage = workflow.get_stage(attempt.claim.stage.stage_id) if workflow else None
        return self.deps.timeout_of(stage) if stage else None

    def perform(self, attempt: Attempt) -> Outcome:
        """Runs the body of a claimed stage and commits nothing. An error of the body is its outcome.

        Raises `StoreUnavailable`, and the error of code that cannot be loaded.
        """
        return perform(attempt, self.deps)
