"""A local cloud as a stack: fakes of boto3's clients, over the real handler."""

import io
import json
from collections.abc import Mapping
from typing import Any

from engine.localcloud.sandbox import FunctionFailed, Sandbox
from tests.cloud import workflows

NAME, FUNCTION = "engine-test-app", "maintenance"
WORKFLOWS = {name: workflows.WORKFLOWS[name] for name in ("suspending", "far-ahead", "failing")} | {
    "document-analysis": "functions.workflows.document_analysis:workflow"
}


class StackClients:
    """The calls of CloudFormation and Lambda that the command line uses."""

    def __init__(self, maintenance: Sandbox) -> None:
        self._maintenance = maintenance
        self.lost_answers = 0
        self.invocations: list[Mapping[str, Any]] = []

    def __call__(self, _service: str) -> Any:
        return self

    def describe_stacks(self, *, StackName: str) -> Mapping[str, Any]:  # noqa: N803 - boto3's names
        assert StackName == NAME
        return {"Stacks": [{"Outputs": [{"OutputKey": "MaintenanceFunction", "OutputValue": FUNCTION}]}]}

    def invoke(self, *, FunctionName: str, Payload: bytes) -> Mapping[str, Any]:  # noqa: N803 - boto3's names
        assert FunctionName == FUNCTION
        event = json.loads(Payload)
        self.invocations.append(event)
        while self.lost_answers:  # boto3 repeats the invocation by itself
            self.lost_answers -= 1
            self._maintenance.invoke(event)
        try:
            return {"Payload": stream(self._maintenance.invoke(event))}
        except FunctionFailed as error:
            return {"FunctionError": "Unhandled", "Payload": stream({"errorMessage": str(error)})}


def stream(answer: Any) -> io.BytesIO:
    return io.BytesIO(json.dumps(answer).encode())
