import json

import pytest

from engine.adapters.aws.job_message import (
    UndecodableMessage,
    decode_job_message,
    decode_wake,
    encode_job_message,
    encode_wake,
)
from engine.ports.job_transport import JobNotification

NOTIFICATION = JobNotification(job_id="j", workflow_run_id="r", workflow_id="w", stage_id="s", pool="default")
BODY = json.loads(encode_job_message(NOTIFICATION))


def test_a_notification_comes_back_as_it_was_sent() -> None:
    assert decode_job_message(encode_job_message(NOTIFICATION)) == NOTIFICATION


def test_the_body_holds_ids_and_nothing_else() -> None:
    sent = JobNotification(
        job_id="j",
        workflow_run_id="r",
        workflow_id="w",
        stage_id="s",
        pool="default",
        tenant="acme",
        delay=9,
    )
    assert json.loads(encode_job_message(sent)) == {
        "version": 1,
        "kind": "job",
        "job_id": "j",
        "workflow_run_id": "r",
        "workflow_id": "w",
        "stage_id": "s",
        "pool": "default",
    }


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ("", "body"),
        ("not json", "body"),
        ("[]", "body"),
        (json.dumps(BODY | {"version": 2}), "version"),
        (json.dumps(BODY | {"version": "1"}), "version"),
        (json.dumps(BODY | {"kind": "wake"}), "kind"),
        (json.dumps(BODY | {"job_id": ""}), "job_id"),
        (json.dumps(BODY | {"job_id": 7}), "job_id"),
        (json.dumps(BODY | {"payload": {}}), "payload"),
        (json.dumps({name: value for name, value in BODY.items() if name != "pool"}), "pool"),
    ],
)
def test_what_is_not_a_notification_is_refused_by_the_name_of_its_fault(body: str, named: str) -> None:
    with pytest.raises(UndecodableMessage) as refusal:
        decode_job_message(body)
    assert [problem.split(":")[0] for problem in refusal.value.problems] == [named]


def test_a_refusal_does_not_quote_the_message() -> None:
    with pytest.raises(UndecodableMessage) as refusal:
        decode_job_message(json.dumps(BODY | {"job_id": {"secret": "hunter2"}}))
    assert "hunter2" not in str(refusal.value)


def test_a_wake_comes_back_as_it_was_sent() -> None:
    command = {"type": "run.reconcile", "workflow_run_id": "r"}
    assert decode_wake(encode_wake(command)) == command


@pytest.mark.parametrize("body", [encode_job_message(NOTIFICATION), '{"version": 1, "kind": "wake", "command": []}'])
def test_what_is_not_a_wake_is_refused(body: str) -> None:
    with pytest.raises(UndecodableMessage):
        decode_wake(body)
