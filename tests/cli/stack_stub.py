"""A deployed stack that is not there: its maintenance function answers reads from a store on this machine."""

import io
import json
from collections.abc import Mapping
from typing import Any

from engine.domain.errors import EngineError
from engine.reading.queries import answer_query
from engine.ports.reads import Reads

NAME, FUNCTION = "engine-test-app", "maintenance"


class StackStub:
    """boto3's clients for CloudFormation and Lambda, as far as the command line uses them."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    def __call__(self, _service: str) -> Any:
        return self

    def describe_stacks(self, **_request: str) -> Mapping[str, Any]:
        return {"Stacks": [{"Outputs": [{"OutputKey": "MaintenanceFunction", "OutputValue": FUNCTION}]}]}

    def invoke(self, *, FunctionName: str, Payload: bytes) -> Mapping[str, Any]:  # noqa: N803 — boto3's names
        assert FunctionName == FUNCTION
        return {"Payload": io.BytesIO(json.dumps(self._answer(json.loads(Payload))).encode())}

    def _answer(self, document: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return {"result": answer_query(document, self._reads)}
        except EngineError as error:
            return {"error": {"code": error.code, "message": str(error)}}
