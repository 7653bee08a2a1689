"""A wired kernel for tests of workflows."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from engine.adapters.local.in_process import InProcessTimers
from engine.adapters.local.job_queue import InMemoryJobQueue
from engine.adapters.memory.blob_store import InMemoryBlobStore
from engine.adapters.memory.persistence import InMemoryPersistence
from engine.ai.binding import StageAI
from engine.ai.call_log import CallLog
from engine.ai.gateway import LiteLLMGateway
from engine.ai.messages import Gateway
from engine.definition.workflow import Workflow
from engine.domain.errors import EngineError
from engine.domain.lifecycle import ENDED_RUNS, JobStatus
from engine.domain.values import Json
from engine.execution.executors import LocalExecutor
from engine.hosts.maintenance import TickResult, run_tick
from engine.hosts.serverless import ServerlessHost
from engine.kernel.annotations import Annotations
from engine.kernel.commands import Command, RunCreate, RunReconcile
from engine.kernel.host_commands import Internal
from engine.kernel.kernel import Kernel
from engine.ports.blob_store import BlobStore
from engine.ports.deps import Deps
from engine.ports.event_sink import EventSink
from engine.ports.executor import ActivityExecutor
from engine.ports.ids import Ids
from engine.ports.persistence import Persistence
from engine.ports.reads import RunView
from engine.reading.reads import StoredReads
from engine.testing.clock import FakeClock
from engine.testing.event_sink import CollectingEventSink
from engine.testing.ids import FixedIds

LONGEST = 10_000
"""Turns after which `run_to_completion` gives up."""


class RunDidNotEnd(EngineError):
    """The run is stuck, or does not end."""


class Workflows:
    """A registry of the given workflows."""

    def __init__(self, workflows: Sequence[Workflow[Any, Any]]) -> None:
        self.by_id = {workflow.id: workflow for workflow in workflows}

    def get_workflow(self, workflow_id: str) -> Workflow[Any, Any] | None:
        return self.by_id.get(workflow_id)

    def list(self) -> Sequence[str]:
        return tuple(sorted(self.by_id))


class TestKernel:
    """Runs workflows in memory, on a clock that only `run_to_completion` and the test move.

    Each part can be replaced: persistence (then pass its clock too), blob store, event sink, executor, ids, and the
    gateway to models. `timeout` is the default timeout of stages in seconds.
    """

    __test__ = False

    def __init__(
        self,
        *workflows: Workflow[Any, Any],
        clock: FakeClock | None = None,
        persistence: Persistence | None = None,
        blob_store: BlobStore | None = None,
        event_sink: EventSink | None = None,
        executor: ActivityExecutor | None = None,
        ids: Ids | None = None,
        ai_gateway: Gateway | None = None,
    ) -> None:
        self.clock = clock or FakeClock()
        self.persistence = persistence or InMemoryPersistence(self.clock)
        self.queue = InMemoryJobQueue(self.persistence)
        self.timers = InProcessTimers()
        self.events = CollectingEventSink()
        self.workflows = Workflows(workflows)
        ids = ids or FixedIds()
        self.kernel = Kernel(
            Deps(
                persistence=self.persistence,
                blob_store=blob_store or InMemoryBlobStore(),
                job_transport=self.queue,
                event_sink=event_sink or self.events,
                scheduler=self.timers,
                clock=self.clock,
                registry=self.workflows,
                executor=executor or LocalExecutor(),
                ids=ids,
                ai_for=StageAI(
                    log=CallLog(self.persistence),
                    gateway=ai_gateway or LiteLLMGateway(),
                    registry=self.workflows,
                    new_id=ids.new,
                ),
            )
        )
        self.host = ServerlessHost(self.kernel, worker_id="test")

    @property
    def pools(self) -> tuple[str, ...]:
        """The pools of the stages of these workflows."""
        return tuple(sorted({"default", *(pool for each in self.workflows.by_id.values() for pool in each.pools)}))

    @property
    def annotations(self) -> Annotations:
        return self.kernel.annotations

    @property
    def reads(self) -> StoredReads:
        return self.kernel.reads

    def dispatch[R](self, command: Command[R] | Internal[R]) -> R:
        return self.kernel.dispatch(command)

    def create(self, workflow_id: str, input: Json = None, **fields: Any) -> str:  # noqa: A002 — the word that authors use
        """Creates and starts a run; gives its id."""
        command = RunCreate(workflow_id=workflow_id, input=input, start=True, **fields)
        return self.dispatch(command).workflow_run_id

    def run(self, workflow_id: str, input: Json = None, **fields: Any) -> RunView:  # noqa: A002 — the word that authors use
        """Creates a run and works on it until it has ended."""
        return self.run_to_completion(self.create(workflow_id, input, **fields))

    def run_to_completion(self, run_id: str) -> RunView:
        """Works on the run until it has ended. Moves the clock when nothing is due.

        Raises `RunDidNotEnd` when the run is stuck.
        """
        for _ in range(LONGEST):
            if self.host.process_available_jobs(max_jobs=100, pools=self.pools).processed:
                continue
            due = self.dispatch(RunReconcile(workflow_run_id=run_id)).next_due
            view = self.reads.run(run_id)
            if view.run.status in ENDED_RUNS:
                self.flush()
                return view
            if due is None and not self._has_pending(view):
                break
            self._wait_until(due)
        raise RunDidNotEnd(f"run {run_id!r} does not end; its stages: {_states(self.reads.run(run_id))}")

    def output(self, run_id: str) -> Json:
        return self.reads.value(self.reads.run(run_id).run.output)

    def tick(self) -> TickResult:
        """Runs one maintenance tick, as hosts do."""
        return run_tick(self.kernel, "test")

    def flush(self) -> None:
        """Publishes all events that are due."""
        while run_tick(self.kernel, "test").events_flushed:
            pass

    def _has_pending(self, view: RunView) -> bool:
        return any(job.status is JobStatus.PENDING for job in view.jobs)

    def _wait_until(self, due: datetime | None) -> None:
        if due is not None and due > self.clock.now():
            self.clock.advance(due - self.clock.now())


def _states(view: RunView) -> str:
    return ", ".join(f"{stage.stage_id} {stage.status}" for stage in view.stages) or "none"
