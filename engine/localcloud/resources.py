"""The AWS resources of a deployment, made with plain API calls, and the functions' environment variables."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.adapters.aws.clients import Clients
from engine.localcloud.emulator import CREDENTIALS

NAME = "engine"
MAX_RECEIVES = 20
VISIBILITY_TIMEOUTS = 6
"""The visibility timeout of a queue as a multiple of its function's timeout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A queue with its function. `timeout` is the function's, in seconds."""

    url: str
    arn: str
    timeout: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudResources:
    """`work`: queues by pool. `unread`: undecodable messages. `seen`: a copy of every event on the bus."""

    work: Mapping[str, Queue]
    control: Queue
    unread: Queue
    missed: Queue
    seen: Queue
    bucket: str
    bus: str
    schedule_group: str
    schedule_role_arn: str
    database_secret: str

    def environment(self, endpoint: str, database_url: str) -> dict[str, str]:
        """The environment variables of a function, or of a client of the deployment."""
        pools = {pool: {"queue_url": queue.url, "timeout": queue.timeout} for pool, queue in self.work.items()}
        return CREDENTIALS | {
            "AWS_ENDPOINT_URL": endpoint,
            "DATABASE_URL": database_url,
            "ENGINE_PROFILE": "aws",
            "ENGINE_POOLS": json.dumps(pools),
            "ENGINE_BUCKET": self.bucket,
            "ENGINE_EVENT_BUS": self.bus,
            "ENGINE_CONTROL_QUEUE_URL": self.control.url,
            "ENGINE_CONTROL_QUEUE_ARN": self.control.arn,
            "ENGINE_SCHEDULE_ROLE_ARN": self.schedule_role_arn,
            "ENGINE_SCHEDULE_GROUP": self.schedule_group,
            "ENGINE_SCHEDULE_DEAD_LETTER_ARN": self.missed.arn,
            "ENGINE_DEAD_LETTER_QUEUE_URL": self.unread.url,
            "ENGINE_DATABASE_LOGIN": "secret",
            "ENGINE_DATABASE_SECRET": self.database_secret,
        }


def create_resources(clients: Clients, pools: Mapping[str, float], *, control_timeout: float) -> CloudResources:
    """Creates the resources. `pools`: the timeout of each pool's function, in seconds."""
    seen = _queue(clients, "events-seen", timeout=60.0)
    clients("s3").create_bucket(Bucket=f"{NAME}-blobs")
    clients("scheduler").create_schedule_group(Name=NAME)
    role = clients("iam").create_role(RoleName=f"{NAME}-schedules", AssumeRolePolicyDocument="{}")["Role"]
    login = json.dumps({"username": "postgres", "password": "local"})
    secret = clients("secretsmanager").create_secret(Name=f"{NAME}/database", SecretString=login)
    return CloudResources(
        work={pool: _served_queue(clients, f"work-{pool}", timeout) for pool, timeout in pools.items()},
        control=_served_queue(clients, "control", control_timeout),
        unread=_queue(clients, "unread", timeout=60.0),
        missed=_queue(clients, "schedules-missed", timeout=60.0),
        seen=seen,
        bucket=f"{NAME}-blobs",
        bus=_bus(clients, seen),
        schedule_group=NAME,
        schedule_role_arn=role["Arn"],
        database_secret=secret["ARN"],
    )


def _served_queue(clients: Clients, name: str, timeout: float) -> Queue:
    """A queue with a dead-letter queue behind it."""
    dead = _queue(clients, f"{name}-dead", timeout=timeout)
    redrive = json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": MAX_RECEIVES})
    return _queue(clients, name, timeout=timeout, RedrivePolicy=redrive)


def _queue(clients: Clients, name: str, *, timeout: float, **attributes: str) -> Queue:
    sqs = clients("sqs")
    hidden = {"VisibilityTimeout": str(round(VISIBILITY_TIMEOUTS * timeout))}
    url = sqs.create_queue(QueueName=f"{NAME}-{name}", Attributes=hidden | attributes)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    return Queue(url=url, arn=arn, timeout=timeout)


def _bus(clients: Clients, seen: Queue) -> str:
    """An event bus with a rule that copies every event to one queue."""
    events: Any = clients("events")
    events.create_event_bus(Name=f"{NAME}-events")
    everything = {"Name": f"{NAME}-seen", "EventBusName": f"{NAME}-events"}
    events.put_rule(**everything, EventPattern=json.dumps({"source": [{"prefix": ""}]}))
    events.put_targets(
        Rule=everything["Name"], EventBusName=everything["EventBusName"], Targets=[{"Id": "seen", "Arn": seen.arn}]
    )
    return f"{NAME}-events"
