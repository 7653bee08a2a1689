"""Answers of a provider and of a stack that are not JSON become errors of the engine."""

import io
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from engine.adapters.aws.stack import StackCalls
from engine.ai.providers.http import ProviderHttp
from engine.domain.errors import AICallFailed, StoreUnavailable

ANSWERS = {"a page": b"<html>", "a long number": b"9" * 5000, "not UTF-8": b"\xff\xff"}


class Stack:
    """boto3's clients for a stack whose function gives `answer`."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def __call__(self, _service: str) -> Any:
        return self

    def describe_stacks(self, **_request: str) -> Mapping[str, Any]:
        return {"Stacks": [{"Outputs": [{"OutputKey": "MaintenanceFunction", "OutputValue": "f"}]}]}

    def invoke(self, **_request: Any) -> Mapping[str, Any]:
        return {"Payload": io.BytesIO(self._answer)}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
def test_an_answer_of_a_stack_that_is_not_json_is_named(answer: bytes) -> None:
    with pytest.raises(StoreUnavailable, match="stack 'app' gave an answer that is not JSON"):
        StackCalls(Stack(answer), "app").ask({"read": "jobs.list"})


REQUESTS: Mapping[str, Callable[[ProviderHttp], object]] = {
    "get": lambda http: http.get("/batches"),
    "lines": lambda http: http.get_lines("/results"),
    "post": lambda http: http.post("/batches", {}),
    "upload": lambda http: http.upload("/files", {}, []),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS.keys())
def test_an_answer_of_a_provider_that_is_not_json_may_be_charged(
    monkeypatch: pytest.MonkeyPatch, request_: Callable[[ProviderHttp], object], answer: bytes
) -> None:
    monkeypatch.setattr("engine.ai.providers.http.urlopen", lambda *_, **__: io.BytesIO(answer))
    with pytest.raises(AICallFailed, match="acme gave an answer that is not JSON") as error:
        request_(ProviderHttp("acme", "https://acme.test", {}))
    assert error.value.may_be_charged
