"""A deployed stack, spoken to by invoking its maintenance function; IAM decides who may."""

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
        """Raises `NotFound` for a stack that is not there, `StoreError` for one that is not of an engine."""
        self._clients, self._stack = clients, stack
        self._function = self._find_function()

    def ask(self, document: Mapping[str, Json]) -> Json:
        """The result. Raises what the kernel there raised, or `StoreUnavailable` when the function did not answer."""
        with translated(f"could not invoke {self._function!r}"):
            response = self._clients("lambda").invoke(
                FunctionName=self._function, Payload=json.dumps(document).encode()
            )
            answer = json.load(response["Payload"])
        if response.get("FunctionError"):
            raise StoreUnavailable(f"stack {self._stack!r} could not answer: {_message_of(answer)}")
        if "error" in answer:
            raise _error_of(answer["error"])
        return answer["result"]

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


def _error_of(said: Mapping[str, str]) -> EngineError:
    """The same kind of error, as far as callers tell them apart, with the same words."""
    kind = InvalidInput if said["code"] in CALLERS_FAULT else RefusedError
    error: EngineError = kind(said["message"])
    error.code = said["code"]
    return error
