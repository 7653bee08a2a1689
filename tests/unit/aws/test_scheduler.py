import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from botocore.exceptions import EndpointConnectionError

from engine.adapters.aws.clients import Clients
from engine.adapters.aws.job_message import decode_wake
from engine.adapters.aws.scheduler import ControlQueue, SqsScheduler, schedule_name
from engine.domain.errors import StoreError, StoreUnavailable
from tests.unit.aws.conftest import StoppedClock
from tests.unit.aws.stubs import Recorded, aws_error, only

RECONCILE = {"type": "run.reconcile", "workflow_run_id": "r1"}
QUEUE = ControlQueue(
    url="https://queue",
    arn="arn:aws:sqs:eu-central-1:123456789012:control",
    role_arn="arn:aws:iam::123456789012:role/wake",
    dead_letter_arn="arn:aws:sqs:eu-central-1:123456789012:dead",
)


@pytest.mark.parametrize(("ahead", "delay"), [(-5, 0), (0, 0), (0.2, 2), (90, 91), (898.5, 900), (899, 900)])
def test_a_near_wake_is_a_delayed_message(clock: StoppedClock, ahead: float, delay: int) -> None:
    sqs = Recorded({})
    SqsScheduler(only(sqs), QUEUE, clock).wake(RECONCILE, clock.now() + timedelta(seconds=ahead))
    [call] = sqs.calls
    assert (call["operation"], call["QueueUrl"], call["DelaySeconds"]) == ("send_message", QUEUE.url, delay)
    assert decode_wake(call["MessageBody"]) == RECONCILE


def test_a_far_wake_is_a_schedule_that_fires_once_and_goes(clients: Clients, clock: StoppedClock) -> None:
    at = datetime(2026, 11, 22, 14, 0, 0, 500, tzinfo=timezone(timedelta(hours=1)))
    SqsScheduler(clients, QUEUE, clock).wake(RECONCILE, at)
    [listed] = clients("scheduler").list_schedules()["Schedules"]
    made = clients("scheduler").get_schedule(Name=listed["Name"])
    assert made["ScheduleExpression"] == "at(2026-11-22T13:00:01)"
    assert made["ScheduleExpressionTimezone"] == "UTC"
    assert made["FlexibleTimeWindow"] == {"Mode": "OFF"}
    assert made["ActionAfterCompletion"] == "DELETE"
    assert made["Target"]["Arn"] == QUEUE.arn
    assert made["Target"]["RoleArn"] == QUEUE.role_arn
    assert made["Target"]["DeadLetterConfig"] == {"Arn": QUEUE.dead_letter_arn}
    assert decode_wake(made["Target"]["Input"]) == RECONCILE


def test_a_repeat_replaces_and_another_time_or_run_does_not(clients: Clients, clock: StoppedClock) -> None:
    scheduler = SqsScheduler(clients, QUEUE, clock)
    soon, later = clock.now() + timedelta(hours=1), clock.now() + timedelta(hours=2)
    for _ in range(2):
        scheduler.wake(RECONCILE, soon)
    assert len(clients("scheduler").list_schedules()["Schedules"]) == 1
    scheduler.wake(RECONCILE, later)
    scheduler.wake(RECONCILE | {"workflow_run_id": "r2"}, soon)
    assert len(clients("scheduler").list_schedules()["Schedules"]) == 3


def test_the_first_wake_too_far_for_sqs_is_a_schedule(clock: StoppedClock) -> None:
    scheduler = Recorded({})
    SqsScheduler(only(scheduler), QUEUE, clock).wake(RECONCILE, clock.now() + timedelta(seconds=899.1))
    assert scheduler.calls[0]["operation"] == "create_schedule"


def test_a_schedule_has_a_name_that_aws_takes() -> None:
    command = {"type": "stage.pollSuspended" + "Δ" * 40, "stage_record_id": "s", "workflow_run_id": "r"}
    name = schedule_name(command, datetime(2026, 1, 1, tzinfo=UTC))
    assert len(name) <= 64
    assert name.startswith("stage-pollSuspended")
    assert name.replace("-", "").isascii()
    assert name.replace("-", "").isalnum()
    assert name == schedule_name(json.loads(json.dumps(command)), datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("answer", "raised"),
    [
        (EndpointConnectionError(endpoint_url="x"), StoreUnavailable),
        (aws_error("ThrottlingException", 429), StoreUnavailable),
        (aws_error("AccessDenied", 403), StoreError),
    ],
)
@pytest.mark.parametrize("hours", [0, 1])
def test_a_wakeup_that_could_not_be_scheduled_says_so(
    clock: StoppedClock, answer: Exception, raised: type[Exception], hours: int
) -> None:
    with pytest.raises(StoreError, match=r"could not schedule 'run.reconcile'") as failure:
        SqsScheduler(only(Recorded(answer)), QUEUE, clock).wake(RECONCILE, clock.now() + timedelta(hours=hours))
    assert type(failure.value) is raised
