"""Answers CloudFormation for a function that is a custom resource."""

import json
import urllib.request
from collections.abc import Mapping
from typing import Any

ANSWER_SECONDS = 30.0
REASON_LENGTH = 1000


def answer(event: Mapping[str, Any], *, physical_id: str, failure: str | None = None) -> None:
    """Reports success, or with `failure` the reason; CloudFormation then rolls the deployment back."""
    document = {
        "Status": "SUCCESS" if failure is None else "FAILED",
        "Reason": (failure or "done")[:REASON_LENGTH],
        "PhysicalResourceId": physical_id,
        "StackId": event["StackId"],
        "RequestId": event["RequestId"],
        "LogicalResourceId": event["LogicalResourceId"],
    }
    body = json.dumps(document).encode()
    # CloudFormation signed the URL without a content type, so none may be sent.
    request = urllib.request.Request(event["ResponseURL"], data=body, method="PUT", headers={"Content-Type": ""})
    with urllib.request.urlopen(request, timeout=ANSWER_SECONDS):
        pass
