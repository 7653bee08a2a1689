"""A client of a deployed stack. It invokes the maintenance function; IAM controls the access."""

import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from engine.adapters.aws.clients import Clients
from engine.adapters.aws.faults import translated
from engine.domain.errors import (
    EngineError,
    InvalidInput,
    NotFound,
    RefusedError,
    StoreError,
    StoreUnavailable,
    UnknownStage,
    UnknownWorkflow,
)
from engine.domain.values import Json

FUNCTION_OUTPUT = "MaintenanceFunction"
CALLERS_FAULT = frozenset({InvalidInput.code, UnknownWorkflow.code, UnknownStage.code, NotFound.code})


class StackCalls:
    """Sends commands and reads in their JSON form."""

    def __init__(self, clients: Clients, stack: str) -> None:
        """Raises `NotFound` for a stack that does not exist, `StoreError` for one without an engine."""
        self._clients, self._stack = clients, stack
        self._function = self._find_function()

    def ask(self, document: Mapping[str, Json]) -> Json:
        """Returns the result. Raises the error of the remote kernel, or `StoreUnavailable` without an answer."""
        with translated(f"could not invoke {self._function!r}"):
            response = self._clients("lambda").invoke(
                FunctionName=self._function, Payload=json.dumps(document).encode()
            )
            payload = response["Payload"].read()
        answer = self._parsed(payload)
        if response.get("FunctionError"):
            raise StoreUnavailable(f"stack {self._stack!r} could not answer: {_message_of(answer)}")
        if "error" in answer:
            raise _error_of(answer["error"])
        return answer["result"]

    def _parsed(self, payload: bytes) -> Any:
        try:
            return json.loads(payload)
        except ValueError as error:
            raise StoreUnavailable(f"stack {self._stack!r} gave an answer that is not JSON: {error}") from error

    def _find_function(self) -> str:
        with translated(f"could not look up stack {self._stack!r}"):
            try:
                found = self._clients("cloudformation").describe_stacks(StackName=self._stack)["Stacks"][0]
            except ClientError as error:
                if "does not exist" in str(error):
                    raise NotFound("stack", self._stack) from error
                raise
        outputs = {each["OutputKey"]: str(each["OutputValue"]) for each in found.get("Outputs", [])}
        if FUNCTION_OUTPUT not in outputs:
            raise StoreError(f"stack {self._stack!r} has no output {FUNCTION_OUTPUT}; name the one that ends in -app")
        return outputs[FUNCTION_OUTPUT]


def _message_of(answer: Any) -> str:
    return str(answer.get("errorMessage", answer)) if isinstance(answer, dict) else str(answer)


def _error_of(fault: Mapping[str, str]) -> EngineError:
    """An error of the same kind, code and message; callers distinguish only the two kinds."""
    kind = InvalidInput if fault["code"] in CALLERS_FAULT else RefusedError
    error: EngineError = kind(fault["message"])
    error.code = fault["code"]
    return error
