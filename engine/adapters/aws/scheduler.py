import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from botocore.exceptions import ClientError

from engine.adapters.aws.clients import Clients
from engine.adapters.aws.faults import code_of, translated
from engine.adapters.aws.job_message import encode_wake
from engine.domain.values import Json
from engine.ports.clock import Clock

SQS_MAX_DELAY = 900
NAME_LENGTH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlQueue:
    """The queue of wake-ups. Schedules send to it as `role_arn`; failed deliveries go to `dead_letter_arn`."""

    url: str
    arn: str
    role_arn: str
    dead_letter_arn: str | None = None
    schedule_group: str = "default"


class SqsScheduler:
    """A delayed message up to 15 minutes ahead, a one-time schedule that deletes itself beyond.

    Raises `StoreUnavailable` or `StoreError` when nothing was scheduled.
    """

    def __init__(self, clients: Clients, queue: ControlQueue, clock: Clock) -> None:
        self._clients, self._queue, self._clock = clients, queue, clock

    def wake(self, command: Mapping[str, Json], at: datetime) -> None:
        ahead = (at - self._clock.now()).total_seconds()
        delay = math.ceil(ahead) + 1 if ahead > 0 else 0
        with translated(f"could not schedule {command.get('type')!r}"):
            if delay <= SQS_MAX_DELAY:
                self._clients("sqs").send_message(
                    QueueUrl=self._queue.url, MessageBody=encode_wake(command), DelaySeconds=delay
                )
            else:
                self._schedule(command, at)

    def _schedule(self, command: Mapping[str, Json], at: datetime) -> None:
        when = whole_second(at)
        request = {
            "Name": schedule_name(command, when),
            "GroupName": self._queue.schedule_group,
            "ScheduleExpression": f"at({when:%Y-%m-%dT%H:%M:%S})",
            "ScheduleExpressionTimezone": "UTC",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "ActionAfterCompletion": "DELETE",
            "Target": self._target(command),
        }
        scheduler = self._clients("scheduler")
        try:
            scheduler.create_schedule(**request)
        except ClientError as error:
            if code_of(error) != "ConflictException":
                raise
            scheduler.update_schedule(**request)

    def _target(self, command: Mapping[str, Json]) -> dict[str, Json]:
        queue = self._queue
        dead_letters = {"DeadLetterConfig": {"Arn": queue.dead_letter_arn}} if queue.dead_letter_arn else {}
        return {"Arn": queue.arn, "RoleArn": queue.role_arn, "Input": encode_wake(command), **dead_letters}


def whole_second(at: datetime) -> datetime:
    """In UTC and rounded up, because a schedule has no fractions and must not fire early."""
    at = at.astimezone(UTC)
    return at.replace(microsecond=0) + timedelta(seconds=1) if at.microsecond else at


def schedule_name(command: Mapping[str, Json], at: datetime) -> str:
    """Equal for the same command at the same time, so that a repetition replaces it.

    The time is part of the name: a later wake-up of the same command must not replace an earlier one.
    """
    document = json.dumps([dict(command), at.isoformat()], sort_keys=True)
    kind = "".join(c if c.isalnum() and c.isascii() else "-" for c in str(command.get("type", "wake")))
    return f"{kind[: NAME_LENGTH - 33]}-{hashlib.sha256(document.encode()).hexdigest()[:32]}"
