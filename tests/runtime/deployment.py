"""A deployment whose functions run from an unpacked bundle under Lambda's own runtime client."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine.adapters.aws.clients import AwsClients
from engine.localcloud.function_events import failed_message_ids, sqs_event
from engine.localcloud.resources import CloudResources, create_resources
from tests.support.ministack import CREDENTIALS, REGION, Ministack
from tests.support.postgres import PostgresServer
from tests.support.runtime_api import Answer, LambdaFunction

CODE = Path(__file__).parent / "code"
MIGRATE, MAINTENANCE, JOBS = "functions.migrate.handler", "functions.maintenance.handler", "functions.jobs.handler"
TEST_WORKFLOWS = {"ENGINE_CODE": str(CODE), "ENGINE_REGISTRY": "runtime_workflows:WORKFLOWS"}


class Deployment:
    """Queues, bucket, bus and an empty database; functions on demand. `pool_timeout` in seconds."""

    def __init__(self, bundle: Path, emulator: Ministack, database_url: str, *, pool_timeout: float = 60.0) -> None:
        self._bundle = bundle
        self.clients = AwsClients(region=REGION, endpoint=emulator.url, credentials=CREDENTIALS)
        self.resources: CloudResources = create_resources(
            self.clients, {"default": pool_timeout}, control_timeout=pool_timeout
        )
        self.environment = self.resources.environment(emulator.url, database_url)

    def function(self, handler: str, more: Mapping[str, str] | None = None, *, timeout: float = 60.0) -> LambdaFunction:
        return LambdaFunction(self._bundle, handler, {**self.environment, **(more or {})}, timeout=timeout)

    def migrate(self) -> Answer:
        with self.function(MIGRATE) as function:
            return function.invoke({})

    def next_job_event(self) -> dict[str, Any] | None:
        """A batch of one from the work queue, as the event source would deliver it."""
        messages = self._receive()
        return sqs_event(messages, self.resources.work["default"].arn) if messages else None

    def work(self, jobs: LambdaFunction) -> list[Answer]:
        """Delivers what is on the work queue, one message at a time, and acknowledges what the function accepts."""
        answers = []
        while event := self.next_job_event():
            answer = jobs.invoke(event)
            answers.append(answer)
            records = event["Records"]
            failed = failed_message_ids(answer.payload, [each["messageId"] for each in records]) if answer.ok else None
            for record in records:
                if failed is not None and record["messageId"] not in failed:
                    self.acknowledge(record)
        return answers

    def acknowledge(self, record: Mapping[str, Any]) -> None:
        self.clients("sqs").delete_message(
            QueueUrl=self.resources.work["default"].url, ReceiptHandle=record["receiptHandle"]
        )

    def _receive(self) -> list[dict[str, Any]]:
        answer = self.clients("sqs").receive_message(
            QueueUrl=self.resources.work["default"].url,
            MaxNumberOfMessages=1,
            WaitTimeSeconds=1,
            AttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        messages: list[dict[str, Any]] = answer.get("Messages", [])
        return messages


@contextmanager
def deployed(bundle: Path, server: PostgresServer) -> Iterator[Deployment]:
    """A deployment of its own, not migrated yet."""
    with Ministack() as emulator:
        yield Deployment(bundle, emulator, server.create_database())


def create_run(maintenance: LambdaFunction, workflow_id: str, document: Mapping[str, Any]) -> str:
    command = {"type": "run.create", "workflow_id": workflow_id, "input": dict(document), "start": True}
    answer = maintenance.invoke(command)
    assert answer.ok, answer.payload
    run_id: str = answer.payload["result"]["workflow_run_id"]
    return run_id


def read_run(maintenance: LambdaFunction, run_id: str) -> dict[str, Any]:
    run: dict[str, Any] = maintenance.invoke({"read": "runs.get", "run_id": run_id}).payload["result"]["run"]
    return run
