import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's own, which is not an OSError
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
)

from engine.domain.errors import StoreError, StoreUnavailable

PASSING = re.compile(
    r"Throttl|TooManyRequests|SlowDown|LimitExceeded|^RequestTimeout|^Internal|ServiceUnavailable|^ExpiredToken"
    r"|^OperationAborted$|^ConditionalRequestConflict$"
)
NEVER_ARRIVED = (ConnectionError, HTTPClientError, IncompleteReadError, CredentialRetrievalError)


def code_of(error: ClientError) -> str:
    """The error code of AWS. S3's answers to HEAD have no body, so the code is the HTTP status."""
    return str(error.response.get("Error", {}).get("Code", ""))


def is_passing_code(code: str) -> bool:
    return PASSING.search(code) is not None


def is_passing(error: BotoCoreError | ClientError) -> bool:
    """Whether the same call may succeed later: throttling, time-outs, 5xx, no connection."""
    if not isinstance(error, ClientError):
        return isinstance(error, NEVER_ARRIVED)
    metadata: dict[str, Any] = dict(error.response.get("ResponseMetadata", {}))
    status = int(metadata.get("HTTPStatusCode", 0))
    return status >= 500 or status == 429 or is_passing_code(code_of(error))


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Raises `StoreUnavailable` if a retry may succeed, else `StoreError`. The messages begin with `what`."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        kind = StoreUnavailable if is_passing(error) else StoreError
        raise kind(f"{what}: {error}") from error
