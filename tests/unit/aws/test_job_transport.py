import json
import logging
from collections.abc import Sequence
from typing import Any

import pytest

from engine.adapters.aws.clients import Clients
from engine.adapters.aws.job_message import decode_job_message
from engine.adapters.aws.job_transport import SqsJobTransport, batches, delay_seconds, group_id
from engine.domain.errors import SettingsError
from engine.ports.job_transport import JobNotification
from tests.unit.aws.stubs import Recorded, aws_error, only


def notification(
    job_id: str, *, pool: str = "default", tenant: str | None = None, delay: float = 0.0
) -> JobNotification:
    return JobNotification(
        job_id=job_id,
        workflow_run_id="r",
        workflow_id="w",
        stage_id="s",
        pool=pool,
        tenant=tenant,
        delay=delay,
    )


def received(clients: Clients, url: str) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    while (
        page := clients("sqs")
        .receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"])
        .get("Messages")
    ):
        messages += page
    return messages


def failure(number: int, *, sender: bool) -> dict[str, object]:
    return {"Id": str(number), "SenderFault": sender, "Code": "Odd", "Message": "why"}


def ids(calls: Sequence[dict[str, Any]]) -> list[list[str]]:
    return [[json.loads(each["MessageBody"])["job_id"] for each in call["Entries"]] for call in calls]


def test_each_job_is_notified_in_the_queue_of_its_pool(clients: Clients) -> None:
    urls = {pool: clients("sqs").create_queue(QueueName=pool)["QueueUrl"] for pool in ("default", "ai")}
    many = [notification(f"j{number}") for number in range(23)]
    SqsJobTransport(clients, urls).notify([*many, notification("a", pool="ai", tenant="acme")])
    default = received(clients, urls["default"])
    assert sorted(decode_job_message(each["Body"]).job_id for each in default) == sorted(j.job_id for j in many)
    [other] = received(clients, urls["ai"])
    assert decode_job_message(other["Body"]) == notification("a", pool="ai")
    assert other["Attributes"]["MessageGroupId"] == "acme"
    assert default[0]["Attributes"]["MessageGroupId"] == "default"


def test_a_transport_without_queues_is_refused() -> None:
    with pytest.raises(SettingsError):
        SqsJobTransport(only(Recorded({})), {})
    with pytest.raises(SettingsError):
        SqsJobTransport(only(Recorded({})), {"default": ""})


def test_an_unknown_pool_is_logged_and_keeps_no_other_from_being_sent(caplog: pytest.LogCaptureFixture) -> None:
    sqs = Recorded({})
    SqsJobTransport(only(sqs), {"default": "url"}).notify([notification("lost", pool="gpu"), notification("kept")])
    assert ids(sqs.calls) == [["kept"]]
    assert "no queue for pool 'gpu' (known: default); not notified: lost" in caplog.text


def test_only_what_failed_is_sent_again_and_not_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    sqs = Recorded({"Failed": [failure(1, sender=False)]}, {"Failed": [failure(1, sender=False)]})
    SqsJobTransport(only(sqs), {"default": "url"}).notify([notification("a"), notification("b")])
    assert ids(sqs.calls) == [["a", "b"], ["b"], ["b"]]
    assert "not notified: b" in caplog.text


def test_a_refused_message_is_not_sent_again(caplog: pytest.LogCaptureFixture) -> None:
    sqs = Recorded({"Failed": [failure(0, sender=True)]})
    SqsJobTransport(only(sqs), {"default": "url"}).notify([notification("a"), notification("b")])
    assert len(sqs.calls) == 1
    assert "refused the notification of job a" in caplog.text


def test_a_failing_queue_raises_nothing_and_does_not_stop_the_next_batch(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sqs = Recorded(aws_error("ServiceUnavailable", 503), {})
    with caplog.at_level(logging.ERROR):
        SqsJobTransport(only(sqs), {"default": "url"}).notify([notification(f"j{number}") for number in range(11)])
    assert [len(call) for call in ids(sqs.calls)] == [10, 1]
    assert "could not notify of j0, j1" in caplog.text


def test_batches_hold_ten_messages_and_one_mebibyte() -> None:
    assert [len(batch) for batch in batches(notification("j") for _ in range(21))] == [10, 10, 1]
    assert [len(batch) for batch in batches(notification("j" * 400_000) for _ in range(5))] == [2, 2, 1]


@pytest.mark.parametrize(("delay", "seconds"), [(0, 0), (0.1, 2), (2, 3), (899.5, 900), (5000, 900)])
def test_a_delay_is_never_shorter_than_asked_for_unless_sqs_cannot(delay: float, seconds: int) -> None:
    assert delay_seconds(delay) == seconds


@pytest.mark.parametrize("tenant", ["Zürich AG", "", "x" * 129])
def test_a_tenant_name_that_sqs_refuses_becomes_a_digest(tenant: str) -> None:
    assert len(group_id(tenant)) == 64
    assert group_id(tenant) != group_id(tenant + "1")
    assert group_id("acme/eu:1") == "acme/eu:1"
