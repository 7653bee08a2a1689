"""A deployment on the emulator without running functions: each test starts the readers of its queues."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine.adapters.aws.clients import AwsClients, Clients
from engine.bootstrap.aws import AwsEngine, open_aws
from engine.domain.lifecycle import RunStatus, StageStatus
from engine.localcloud.emulator import CREDENTIALS, REGION, Emulator
from engine.localcloud.event_source import EventSource
from engine.localcloud.function_events import sqs_event
from engine.localcloud.resources import Queue, create_resources
from engine.localcloud.sandbox import Function
from engine.ports.clock import Clock
from engine.settings import Settings
from tests.support.waiting import until

ROOT = Path(__file__).parents[2]
HANDLERS = {"jobs": "functions.jobs.handler", "maintenance": "functions.maintenance.handler"}
SHORT_MARGINS = {name: f"tests.cloud.short_margins.{name}" for name in HANDLERS}


class Deployment:
    def __init__(self, emulator: Emulator, database_url: str, folder: Path, *, timeout: float = 60.0) -> None:
        self.emulator, self.folder, self.handlers = emulator, folder, HANDLERS
        self.clients: Clients = AwsClients(region=REGION, endpoint=emulator.url, credentials=CREDENTIALS)
        self.resources = create_resources(self.clients, {"default": timeout}, control_timeout=timeout)
        known = self.resources.environment(emulator.url, database_url)
        self.environment = known | {"ENGINE_REGISTRY": "tests.cloud.workflows:WORKFLOWS", "ENGINE_CODE": str(ROOT)}
        ours = {name: value for name, value in self.environment.items() if not name.startswith("AWS_")}
        self.settings = Settings.from_env(ours)

    @property
    def work(self) -> Queue:
        return self.resources.work["default"]

    @contextmanager
    def engine(self, *, clients: Clients | None = None, clock: Clock | None = None) -> Iterator[AwsEngine]:
        with open_aws(self.settings, clients=clients or self.clients, clock=clock) as engine:
            yield engine

    def function(self, name: str) -> Function:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "ENGINE_"))}
        return Function(
            name=name,
            handler=self.handlers[name],
            timeout=self.work.timeout,
            environment=inherited | self.environment | {"PYTHONPATH": str(ROOT)},
            log=self.folder / f"{name}.log",
        )

    @contextmanager
    def at_work(self, *, concurrency: int = 2) -> Iterator[tuple[EventSource, EventSource]]:
        """Runs functions that read both queues."""
        sources = (
            EventSource(self.clients, self.work, self.function("jobs"), concurrency=concurrency),
            EventSource(self.clients, self.resources.control, self.function("maintenance"), concurrency=1),
        )
        for source in sources:
            source.start()
        try:
            yield sources
        finally:
            for source in sources:
                source.stop(grace=2.0)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def receive(self, queue: Queue, *, most: int = 10) -> list[dict[str, Any]]:
        answer = self.clients("sqs").receive_message(
            QueueUrl=queue.url, MaxNumberOfMessages=most, AttributeNames=["All"], MessageAttributeNames=["All"]
        )
        received: list[dict[str, Any]] = answer.get("Messages", [])
        return received

    def batch(self, queue: Queue, count: int) -> dict[str, Any]:
        """Waits for so many messages of the queue, and gives them as one event."""
        messages: list[dict[str, Any]] = []

        def all_there() -> bool:
            messages.extend(self.receive(queue))
            return len(messages) >= count

        until(all_there, "the messages are there")
        return sqs_event(messages, queue.arn)

    def count(self, queue: Queue) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.clients("sqs").get_queue_attributes(QueueUrl=queue.url, AttributeNames=names)["Attributes"]
        return sum(int(found[name]) for name in names)


def started(engine: AwsEngine, workflow_id: str, value: Mapping[str, Any] | None = None) -> str:
    command = {"type": "run.create", "workflow_id": workflow_id, "input": dict(value or {}), "start": True}
    run_id: str = engine.kernel.dispatch(command).workflow_run_id
    return run_id


def ended(engine: AwsEngine, run_id: str) -> Callable[[], bool]:
    return lambda: engine.kernel.reads.run(run_id).run.completed_at is not None


def event_types(engine: AwsEngine, run_id: str) -> list[str]:
    return [each.event_type for each in engine.kernel.reads.events(run_id)]


def assert_completed_once(engine: AwsEngine, run_id: str) -> None:
    """Checks that the run is COMPLETED, and that each stage completed exactly once."""
    view = engine.kernel.reads.run(run_id)
    assert view.run.status is RunStatus.COMPLETED, view.run.failure_message
    assert {stage.status for stage in view.stages} == {StageStatus.COMPLETED}
    told = [e.payload["stage_id"] for e in engine.kernel.reads.events(run_id) if e.event_type == "stage:completed"]
    assert sorted(told) == sorted(stage.stage_id for stage in view.stages)
    assert event_types(engine, run_id).count("workflow:completed") == 1
