import json
from collections.abc import Mapping
from datetime import datetime, timedelta

from engine.adapters.aws.clients import Clients
from engine.adapters.aws.faults import translated
from engine.domain.errors import SettingsError
from engine.domain.values import Json
from engine.ports.clock import Clock

MAX_AGE = timedelta(minutes=5)


class SecretReader:
    """Secrets of Secrets Manager by name or ARN, cached for five minutes."""

    def __init__(self, clients: Clients, clock: Clock) -> None:
        self._clients, self._clock = clients, clock
        self._read: dict[str, tuple[str, datetime]] = {}

    def text(self, secret_id: str) -> str:
        value, read_at = self._read.get(secret_id, ("", None))
        now = self._clock.now()
        if read_at is None or now - read_at >= MAX_AGE:
            with translated(f"could not read the secret {secret_id!r}"):
                value = str(self._clients("secretsmanager").get_secret_value(SecretId=secret_id)["SecretString"])
            self._read[secret_id] = (value, now)
        return value

    def fields(self, secret_id: str) -> Mapping[str, Json]:
        """A secret that is a JSON object, such as those of RDS: `username`, `password`, …"""
        try:
            document = json.loads(self.text(secret_id))
        except ValueError:
            document = None
        if not isinstance(document, dict):
            # Neither the value nor the parser's message, which quotes it.
            raise SettingsError(f"the secret {secret_id!r} is not a JSON object")
        return document

    def forget(self, secret_id: str) -> None:
        """Removes a secret from the cache. Call it when the value was refused: it has probably been rotated."""
        self._read.pop(secret_id, None)
