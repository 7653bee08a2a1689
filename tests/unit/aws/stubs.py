"""boto3 clients that answer what a test tells them to: for failures that no emulator produces."""

from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from engine.adapters.aws.clients import Clients


class Recorded:
    """Answers each call with the next of `answers` (the last one for ever), raising those that are exceptions."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.calls: list[dict[str, Any]] = []

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def call(**request: Any) -> Any:
            self.calls.append({"operation": operation} | request)
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call


def only(client: object) -> Clients:
    return lambda _: client


def aws_error(code: str, status: int = 400) -> ClientError:
    response = {"Error": {"Code": code, "Message": "told so"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "Operation")
