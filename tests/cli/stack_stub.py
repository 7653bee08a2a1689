"""A stand-in for a deployed stack: its maintenance function answers from a store on this machine."""

import io
import json
from collections.abc import Mapping
from typing import Any

from engine.domain.errors import EngineError
from engine.kernel.kernel import Kernel
from engine.ports.reads import Reads
from engine.reading.queries import answer_query

NAME, FUNCTION = "engine-test-app", "maintenance"


class StackStub:
    """boto3's clients for CloudFormation and Lambda, as far as the command line uses them."""

    def __init__(self, reads: Reads, kernel: Kernel | None = None) -> None:
        self._reads, self._kernel = reads, kernel

    def __call__(self, _service: str) -> Any:
        return self

    def describe_stacks(self, **_request: str) -> Mapping[str, Any]:
        return {"Stacks": [{"Outputs": [{"OutputKey": "MaintenanceFunction", "OutputValue": FUNCTION}]}]}

    def invoke(self, *, FunctionName: str, Payload: bytes) -> Mapping[str, Any]:  # noqa: N803 — boto3's names
        assert FunctionName == FUNCTION
        return {"Payload": io.BytesIO(json.dumps(self._answer(json.loads(Payload))).encode())}

    def _answer(self, document: Mapping[str, Any]) -> dict[str, Any]:
        try:
            if "read" in document:
                return {"result": answer_query(document, self._reads)}
            assert self._kernel is not None, "this stub answers reads only"
            return {"result": self._kernel.dispatch(document).model_dump(mode="json")}
        except EngineError as error:
            return {"error": {"code": error.code, "message": str(error)}}
