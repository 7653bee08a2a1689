"""The events of functions in AWS's form (examples in events/)."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from engine.localcloud.emulator import REGION

ACCOUNT = "000000000000"


def sqs_event(messages: Sequence[Mapping[str, Any]], queue_arn: str) -> dict[str, Any]:
    """An SQS batch from the messages of `ReceiveMessage`."""
    return {"Records": [_record(message, queue_arn) for message in messages]}


def _record(message: Mapping[str, Any], queue_arn: str) -> dict[str, Any]:
    attributes = message.get("MessageAttributes", {})
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": dict(message.get("Attributes", {})),
        "messageAttributes": {name: _attribute(value) for name, value in attributes.items()},
        "md5OfBody": message.get("MD5OfBody") or hashlib.md5(message["Body"].encode()).hexdigest(),
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": REGION,
    }


def _attribute(value: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "stringValue": value.get("StringValue"),
        "stringListValues": [],
        "binaryListValues": [],
        "dataType": value["DataType"],
    }


def schedule_event(at: datetime) -> dict[str, Any]:
    """The event of an EventBridge schedule rule."""
    return {
        "version": "0",
        "id": hashlib.md5(at.isoformat().encode()).hexdigest(),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": ACCOUNT,
        "time": f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "region": REGION,
        "resources": [f"arn:aws:events:{REGION}:{ACCOUNT}:rule/engine-tick"],
        "detail": {},
    }


def failed_message_ids(answer: object, sent: Sequence[str]) -> frozenset[str]:
    """The messages that Lambda returns to the queue: the named failures, or all of them for an invalid answer."""
    if answer is None or answer == {}:
        return frozenset()
    match answer:
        case {"batchItemFailures": None}:
            return frozenset()
        case {"batchItemFailures": [*failures]} if all(isinstance(each, dict) for each in failures):
            named = frozenset(str(each.get("itemIdentifier") or "") for each in failures)
            return named if named <= set(sent) else frozenset(sent)
        case {"batchItemFailures": _}:
            return frozenset(sent)
        case _:
            return frozenset()
