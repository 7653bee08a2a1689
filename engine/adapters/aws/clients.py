import threading
from collections.abc import Callable, Mapping
from typing import Any

type Clients = Callable[[str], Any]
"""Service name → its boto3 client, always the same one. `Any`, because boto3 is published without types."""

RETRIES = {"mode": "standard", "total_max_attempts": 3}
KEYS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
# S3 keeps signature version 4: without it a presigned URL binds no headers. A function may take its 60 s, most of them
# for a paused database; a shorter timeout would invoke it a second time.
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "s3": {"signature_version": "s3v4", "read_timeout": 60},
    "lambda": {"read_timeout": 65},
}


class AwsClients:
    """boto3's clients, created on first use and cached.

    `endpoint` and `credentials` (by the names of AWS's variables) are for an emulator. Region, credentials and
    dual-stack endpoints come otherwise from boto3's own configuration.
    """

    def __init__(
        self,
        *,
        region: str | None = None,
        endpoint: str | None = None,
        credentials: Mapping[str, str] | None = None,
    ) -> None:
        self._region, self._endpoint = region, endpoint
        self._keys = {name: (credentials or {}).get(name.upper()) for name in KEYS}
        self._made: dict[str, Any] = {}
        # A session is not thread-safe while it creates a client.
        self._lock = threading.Lock()

    def __call__(self, service: str) -> Any:
        with self._lock:
            if service not in self._made:
                self._made[service] = self._make(service)
            return self._made[service]

    def _make(self, service: str) -> Any:
        import boto3  # noqa: PLC0415 - costs half a second, and only deployments on AWS need it
        from botocore.config import Config  # noqa: PLC0415 - comes with boto3

        options: dict[str, Any] = {"read_timeout": 10, **OPTIONS.get(service, {})}
        if self._endpoint and service == "s3":
            options["s3"] = {"addressing_style": "path"}
        config = Config(connect_timeout=5, retries=RETRIES, **options)
        return boto3.session.Session(**self._keys).client(
            service, region_name=self._region, endpoint_url=self._endpoint, config=config
        )
