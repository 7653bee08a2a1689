"""The functions handle every event in events/."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest

import functions.jobs
import functions.maintenance
from engine.adapters.aws.job_message import decode_job_message, decode_wake
from engine.bootstrap.aws import AwsEngine
from engine.domain.errors import InvalidInput, StoreUnavailable
from engine.localcloud.function_events import failed_message_ids, schedule_event, sqs_event
from engine.ports.persistence import Claim, ClaimRequest, Lease
from tests.functions.calling import RecordingAws, context, event

DIGITS = "9" * 5000


def test_the_kept_events_are_the_ones_the_engine_writes() -> None:
    assert decode_job_message(event("sqs-one-job")["Records"][0]["body"]).pool == "default"
    assert decode_wake(event("sqs-wake")["Records"][0]["body"])["type"] == "run.reconcile"


def test_the_local_cloud_builds_events_of_the_same_shape() -> None:
    (kept,) = event("sqs-one-job")["Records"]
    message = {
        "MessageId": kept["messageId"],
        "ReceiptHandle": kept["receiptHandle"],
        "Body": kept["body"],
        "Attributes": kept["attributes"],
        "MD5OfBody": kept["md5OfBody"],
    }
    (built,) = sqs_event([message], kept["eventSourceARN"])["Records"]
    assert built == kept
    tick = event("schedule-tick")
    assert schedule_event(datetime.fromisoformat(tick["time"])).keys() == tick.keys()


def test_an_unknown_job_is_a_ghost_and_acknowledged(engine: AwsEngine) -> None:
    assert functions.jobs.handler(event("sqs-one-job"), context()) == {"batchItemFailures": []}


def test_the_message_stays_hidden_until_the_lease_has_ended(engine: AwsEngine, aws: RecordingAws) -> None:
    functions.jobs.handler(event("sqs-one-job"), context())
    (hidden,) = aws.sent("change_message_visibility")
    assert 325 <= hidden["VisibilityTimeout"] <= 330


@pytest.mark.failure(34)
def test_poison_is_dead_lettered_with_a_reason_and_the_rest_acknowledged(engine: AwsEngine, aws: RecordingAws) -> None:
    assert functions.jobs.handler(event("sqs-batch-with-poison"), context()) == {"batchItemFailures": []}
    (dead,) = aws.sent("send_message")
    assert (dead["QueueUrl"], dead["MessageBody"]) == ("unread", "{not a job")
    assert "Invalid JSON" in dead["MessageAttributes"]["reason"]["StringValue"]


@pytest.mark.failure(34)
def test_a_store_that_is_away_puts_the_message_back_soon(
    engine: AwsEngine, aws: RecordingAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.hosts.serverless.ServerlessHost.handle_job", away)
    answer = functions.jobs.handler(event("sqs-one-job"), context())
    assert answer == {"batchItemFailures": [{"itemIdentifier": event("sqs-one-job")["Records"][0]["messageId"]}]}
    assert aws.sent("change_message_visibility")[-1]["VisibilityTimeout"] == 10


def test_jobs_done_stay_done_though_overdue_ones_could_not_be_looked_for(
    engine: AwsEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.hosts.serverless.ServerlessHost.notify_overdue", away)
    assert functions.jobs.handler(event("sqs-one-job"), context()) == {"batchItemFailures": []}


def away(*_: object) -> None:
    raise StoreUnavailable("away")


def test_a_wake_of_a_run_that_is_gone_is_acknowledged(engine: AwsEngine) -> None:
    assert functions.maintenance.handler(event("sqs-wake"), context()) == {"batchItemFailures": []}


def test_a_wake_that_found_no_store_comes_again_soon(
    engine: AwsEngine, aws: RecordingAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.hosts.serverless.ServerlessHost.handle_wake", away)
    answer = functions.maintenance.handler(event("sqs-wake"), context())
    assert len(answer["batchItemFailures"]) == 1
    (hidden,) = aws.sent("change_message_visibility")
    assert (hidden["QueueUrl"], hidden["VisibilityTimeout"]) == ("control", 10)


def test_a_schedule_makes_a_tick(engine: AwsEngine) -> None:
    counts = functions.maintenance.handler(event("schedule-tick"), context())
    assert counts["errors"] == ()
    assert counts["claimed"] == 0


def test_a_command_and_a_read_are_answered_directly(engine: AwsEngine, aws: RecordingAws) -> None:
    created = functions.maintenance.handler(event("direct-run-create"), context())["result"]
    found = functions.maintenance.handler(event("direct-read"), context())["result"]
    assert [run["id"] for run in found["runs"]] == [created["workflow_run_id"]]
    assert [call["QueueUrl"] for call in aws.sent("send_message_batch")] == ["work"]


def test_a_wrong_command_is_answered_with_what_is_wrong(engine: AwsEngine) -> None:
    wrong = event("direct-run-create") | {"workflow_id": "nobody"}
    assert functions.maintenance.handler(wrong, context())["error"]["code"] == "WORKFLOW_NOT_FOUND"


def test_an_event_of_no_known_kind_is_refused(engine: AwsEngine) -> None:
    with pytest.raises(InvalidInput, match="not a batch, schedule, command or read"):
        functions.maintenance.handler({"hello": 1}, context())


@pytest.mark.parametrize("number", [DIGITS, "1e999", "[" * 100_000], ids=["long", "infinite", "deep"])
@pytest.mark.parametrize(("handler", "name"), [("jobs", "sqs-one-job"), ("maintenance", "sqs-wake")])
def test_a_message_with_a_number_that_nothing_holds_is_dead_lettered(
    engine: AwsEngine, aws: RecordingAws, handler: str, name: str, number: str
) -> None:
    (record,) = event(name)["Records"]
    body = f'{record["body"][:-1]},"n":{number}}}' if handler == "jobs" else _wake_with(number)
    answer = getattr(functions, handler).handler({"Records": [record | {"body": body}]}, context())
    assert answer == {"batchItemFailures": []}
    (dead,) = aws.sent("send_message")
    assert (dead["QueueUrl"], dead["MessageBody"]) == ("unread", body)
    assert len(dead["MessageAttributes"]["reason"]["StringValue"]) < 300


def _wake_with(number: str) -> str:
    return f'{{"version":1,"kind":"wake","command":{{"type":"run.reconcile","workflow_run_id":"r","n":{number}}}}}'


@pytest.mark.parametrize("field", ["input", "metadata", "priority"])
def test_a_command_with_a_number_that_cannot_be_stored_is_refused_and_stores_nothing(
    engine: AwsEngine, field: str
) -> None:
    number = 10**5000
    wrong = event("direct-run-create")
    wrong |= {field: {**(wrong.get(field) or {}), "n": number} if field != "priority" else number}
    error = functions.maintenance.handler(wrong, context())["error"]
    assert error["code"] == "INVALID_INPUT"
    assert len(error["message"]) < 300
    assert functions.maintenance.handler(event("direct-read"), context())["result"]["runs"] == []


@pytest.mark.parametrize(
    "wrong",
    [{"after": 2**63}, {"after": 10**5000}, {"after": -1}, {"run_id": "\ud800"}, {"run_id": "\x00"}, {"limit": 10**30}],
    ids=["too large", "too long", "negative", "half a pair", "NUL", "limit"],
)
def test_a_read_with_a_value_that_nothing_has_is_refused(engine: AwsEngine, wrong: Mapping[str, Any]) -> None:
    created = functions.maintenance.handler(event("direct-run-create"), context())["result"]
    query = {"read": "runs.events", "run_id": created["workflow_run_id"], **wrong}
    error = functions.maintenance.handler(query, context())["error"]
    assert error["code"] in {"INVALID_INPUT", "NOT_FOUND"}


@pytest.mark.parametrize("name", ["created_since", "created_until"])
@pytest.mark.parametrize("instant", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", 1e300])
def test_a_date_outside_the_calendar_is_refused(engine: AwsEngine, name: str, instant: str | float) -> None:
    error = functions.maintenance.handler({"read": "runs.list", name: instant}, context())["error"]
    assert error["code"] == "INVALID_INPUT"
    assert f"  - runs.list.{name}: " in error["message"]


def test_a_long_name_of_a_read_is_shortened(engine: AwsEngine) -> None:
    error = functions.maintenance.handler({"read": "9" * 5000}, context())["error"]
    assert len(error["message"].splitlines()[0]) < 100
    with pytest.raises(InvalidInput) as refused:
        functions.maintenance.handler({"9" * 5000: 1}, context())
    assert len(str(refused.value)) < 200


def test_a_ghost_of_a_leased_job_looks_again_when_the_lease_ends(engine: AwsEngine, aws: RecordingAws) -> None:
    """The redelivered message of a dead worker will be deleted, so a wake-up must be scheduled."""
    created = functions.maintenance.handler(event("direct-run-create"), context())["result"]
    (job,) = engine.kernel.reads.run(created["workflow_run_id"]).jobs
    lease_of_another(engine, job.id)
    before = len(aws.sent("send_message"))
    notification = json.loads(event("sqs-one-job")["Records"][0]["body"])
    body = notification | {"job_id": job.id, "workflow_run_id": job.workflow_run_id}
    record = event("sqs-one-job")["Records"][0] | {"body": json.dumps(body)}
    assert functions.jobs.handler({"Records": [record]}, context()) == {"batchItemFailures": []}
    (again,) = aws.sent("send_message")[before:]
    assert decode_wake(again["MessageBody"]) == {"type": "run.reconcile", "workflow_run_id": job.workflow_run_id}
    assert 195 <= again["DelaySeconds"] <= 202


def lease_of_another(engine: AwsEngine, job_id: str) -> None:
    lease = Lease(worker_id="another", token="another", seconds=200.0)
    request = ClaimRequest(lease=lease, at=engine.kernel.deps.clock.now(), job_id=job_id)
    assert isinstance(engine.kernel.deps.persistence.claim(request), Claim)


@pytest.mark.parametrize(
    ("answer", "failed"),
    [
        (None, set()),
        ({}, set()),
        ({"batchItemFailures": []}, set()),
        ({"batchItemFailures": [{"itemIdentifier": "a"}]}, {"a"}),
        ({"batchItemFailures": [{"itemIdentifier": "unknown"}]}, {"a", "b"}),
        ({"batchItemFailures": [{"itemIdentifier": ""}]}, {"a", "b"}),
        ({"batchItemFailures": [{"wrong": "a"}]}, {"a", "b"}),
        ({"batchItemFailures": "a"}, {"a", "b"}),
    ],
)
def test_a_malformed_partial_answer_fails_the_whole_batch(answer: Mapping[str, Any] | None, failed: set[str]) -> None:
    assert failed_message_ids(answer, ["a", "b"]) == failed
