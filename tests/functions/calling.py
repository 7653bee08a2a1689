"""Calls functions in this process as Lambda does, with an AWS that only records."""

import json
from pathlib import Path
from typing import Any

from engine.adapters.aws.clients import Clients
from engine.localcloud.sandbox_main import Context
from tests.unit.aws.stubs import Recorded

EVENTS = Path(__file__).parents[2] / "events"


def event(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return found


def context() -> Context:
    return Context("function", "request-1", 300.0)


class RecordingAws:
    """Records the calls of SQS (`sqs.calls`) and EventBridge. S3 also stores objects."""

    def __init__(self, s3: Clients) -> None:
        self.sqs = Recorded({"Failed": [], "Entries": []})
        self.events = Recorded({"Entries": [{"EventId": "1"}]})
        self._s3 = s3

    def clients(self, name: str) -> Any:
        match name:
            case "s3":
                return self._s3(name)
            case "events":
                return self.events
            case _:
                return self.sqs

    def sent(self, operation: str) -> list[dict[str, Any]]:
        return [call for call in self.sqs.calls if call["operation"] == operation]
