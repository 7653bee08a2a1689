"""Notifications are hints: if they are lost, late or doubled, every run completes and every stage commits once."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from engine.adapters.aws.clients import Clients
from engine.domain.errors import StoreUnavailable
from engine.domain.lifecycle import ENDED_RUNS, RunStatus
from engine.ports.transaction import RunFilter
from engine.testing import FakeClock
from tests.cloud.deployment import Deployment, assert_completed_once, started
from tests.cloud.in_process import handlers
from tests.cloud.virtual_time import Driver, Meddling, virtual_clients
from tests.unit.aws.stubs import Recorded, aws_error

pytestmark = pytest.mark.postgres

RUNS = 200
UNFINISHED = frozenset(RunStatus) - ENDED_RUNS
CHAOS = Meddling(dropped=0.3, repeated=0.2, times=5, late=120.0)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(datetime.now(UTC))


def without_bus(clients: Clients) -> Clients:
    """Discards events, of which there are thousands."""
    accepting = Recorded({"Entries": []})
    return lambda service: accepting if service == "events" else clients(service)


@pytest.mark.timeout(300)
def test_dropped_repeated_late_and_reordered_notifications_cost_time_and_nothing_else(
    deployment: Deployment, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients, sqs = virtual_clients(deployment.clients, clock)
    with deployment.engine(clients=without_bus(clients), clock=clock) as engine:
        driver = Driver(deployment, sqs, clock, handlers(engine, monkeypatch), meddling=CHAOS, seed=7)
        runs = [started(engine, "forked", {"number": number}) for number in range(RUNS)]
        driver.run(enough=lambda: not engine.kernel.reads.runs(RunFilter(statuses=UNFINISHED), 1).runs)
        for run_id in runs:
            assert_completed_once(engine, run_id)
    assert driver.dropped > RUNS / 2
    assert driver.deliveries > 8 * RUNS


@pytest.mark.parametrize("code", ["ExpiredToken", "ThrottlingException"])
def test_a_run_is_not_created_when_no_wakeup_can_be_scheduled_for_it(
    deployment: Deployment, clock: FakeClock, code: str
) -> None:
    clients, sqs = virtual_clients(deployment.clients, clock)

    def fault(_operation: str) -> None:
        raise aws_error(code)

    with deployment.engine(clients=clients, clock=clock) as engine:
        sqs.fault = fault
        with pytest.raises(StoreUnavailable, match=code):
            started(engine, "one")
        assert not engine.kernel.reads.runs(RunFilter(), 1).runs


@pytest.mark.parametrize("code", ["ExpiredToken", "ThrottlingException"])
def test_a_notification_that_could_not_be_sent_is_made_good_by_the_wakeup_scheduled_before(
    deployment: Deployment, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    clients, sqs = virtual_clients(deployment.clients, clock)
    begun = clock.now()

    def fault(operation: str) -> None:
        if operation == "send_message_batch" and (clock.now() - begun).total_seconds() < 60:
            raise aws_error(code)

    with deployment.engine(clients=clients, clock=clock) as engine:
        sqs.fault = fault
        run_id = started(engine, "mixed")
        Driver(deployment, sqs, clock, handlers(engine, monkeypatch)).run()
        assert_completed_once(engine, run_id)


def test_sqs_that_fails_at_any_one_moment_loses_nothing(
    deployment: Deployment, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQS fails for five simulated seconds from the n-th call of a run on, for wake-ups and notifications."""
    clients, sqs = virtual_clients(deployment.clients, clock)
    with deployment.engine(clients=without_bus(clients), clock=clock) as engine:
        for fails_at in range(1, 9):
            sqs.fault = lambda _operation: None
            run_id = started(engine, "mixed")
            sqs.fault = throttled_from(fails_at, clock)
            Driver(deployment, sqs, clock, handlers(engine, monkeypatch)).run()
            assert_completed_once(engine, run_id)


def throttled_from(number: int, clock: FakeClock) -> Callable[[str], None]:
    calls: list[datetime] = []

    def fault(_operation: str) -> None:
        calls.append(clock.now())
        if len(calls) >= number and (clock.now() - calls[number - 1]).total_seconds() < 5:
            raise aws_error("ThrottlingException")

    return fault
