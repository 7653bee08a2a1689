"""Profile on-demand: no function polls the database."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.pool import Pool

from engine.bootstrap.aws import AwsEngine
from engine.domain.lifecycle import StageStatus
from engine.testing import FakeClock
from tests.cloud.deployment import Deployment, assert_completed_once, started
from tests.cloud.in_process import handlers
from tests.cloud.virtual_time import Driver, virtual_clients

pytestmark = pytest.mark.postgres


def test_nothing_connects_while_a_poll_is_far_ahead_and_it_is_made_on_time(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock(datetime.now(UTC))
    begun = clock.now()
    clients, sqs = virtual_clients(deployment.clients, clock)
    with deployment.engine(clients=clients, clock=clock) as engine:
        driver = Driver(deployment, sqs, clock, handlers(engine, monkeypatch))
        run_id = started(engine, "far-ahead")
        driver.run(until=begun + timedelta(minutes=5))
        stage = engine.kernel.reads.run(run_id).stages[0]
        assert stage.status is StageStatus.SUSPENDED
        engine.close()  # as the role's idle_session_timeout does
        with connections_used() as used:
            driver.run(until=begun + timedelta(hours=1, minutes=55))
        assert used == []
        (schedule,) = schedules(deployment)
        assert stage.next_poll_at is not None
        assert timedelta() <= schedule_time(schedule) - stage.next_poll_at < timedelta(seconds=1)
        fire(schedule, deployment, engine, clock)
        driver.run()
        assert_completed_once(engine, run_id)
        completed = engine.kernel.reads.run(run_id).run.completed_at
    assert completed is not None
    assert timedelta(hours=2) <= completed - begun < timedelta(hours=2, seconds=5)


@contextmanager
def connections_used() -> Iterator[list[object]]:
    """Counts the connections that this process's pools opened or handed out."""
    used: list[object] = []

    def note(connection: object, *_: object) -> None:
        used.append(connection)

    for name in ("connect", "checkout"):
        event.listen(Pool, name, note)
    try:
        yield used
    finally:
        for name in ("connect", "checkout"):
            event.remove(Pool, name, note)


def schedules(deployment: Deployment) -> list[dict[str, Any]]:
    scheduler = deployment.clients("scheduler")
    group = deployment.resources.schedule_group
    found = scheduler.list_schedules(GroupName=group)["Schedules"]
    return [scheduler.get_schedule(Name=each["Name"], GroupName=group) for each in found]


def schedule_time(schedule: dict[str, Any]) -> datetime:
    expression: str = schedule["ScheduleExpression"]
    return datetime.fromisoformat(expression.removeprefix("at(").removesuffix(")")).replace(tzinfo=UTC)


def fire(schedule: dict[str, Any], deployment: Deployment, engine: AwsEngine, clock: FakeClock) -> None:
    """Does what EventBridge Scheduler does at the due time: sends the input to the target, deletes the schedule."""
    assert schedule["Target"]["Arn"] == deployment.resources.control.arn
    assert schedule["ActionAfterCompletion"] == "DELETE"
    assert json.loads(schedule["Target"]["Input"])["command"]["type"] == "stage.pollSuspended"
    clock.advance(schedule_time(schedule) - clock.now())
    engine.clients("sqs").send_message(
        QueueUrl=deployment.resources.control.url, MessageBody=schedule["Target"]["Input"]
    )
    deployment.clients("scheduler").delete_schedule(Name=schedule["Name"], GroupName=schedule["GroupName"])
