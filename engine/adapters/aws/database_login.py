"""Passwords and TLS for a database on RDS."""

import ssl
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from engine.adapters.aws.clients import Clients
from engine.adapters.aws.faults import translated
from engine.adapters.aws.secrets import SecretReader
from engine.domain.errors import SettingsError
from engine.ports.clock import Clock

type PasswordProvider = Callable[[], str]
"""Returns the password. It is called for each new connection."""

# RDS takes a token for 15 minutes; a new connection may wait for the database to resume.
TOKEN_AGE = timedelta(minutes=10)


class IamPassword:
    """A `PasswordProvider` for IAM database authentication. Tokens are signed here, without a call."""

    def __init__(self, clients: Clients, clock: Clock, *, host: str, port: int, user: str) -> None:
        self._clients, self._clock = clients, clock
        self._host, self._port, self._user = host, port, user
        self._token: tuple[str, datetime] | None = None

    def __call__(self) -> str:
        now = self._clock.now()
        if self._token is None or now - self._token[1] >= TOKEN_AGE:
            with translated(f"could not sign a token for database user {self._user!r}"):
                token = self._clients("rds").generate_db_auth_token(
                    DBHostname=self._host, Port=self._port, DBUsername=self._user
                )
            self._token = (str(token), now)
        return self._token[0]


def secret_password(secrets: SecretReader, secret_id: str) -> PasswordProvider:
    """The `password` field of a secret, for the migration's user."""

    def password() -> str:
        value = secrets.fields(secret_id).get("password")
        if not isinstance(value, str):
            raise SettingsError(f"the secret {secret_id!r} has no field 'password'")
        return value

    return password


def verified_tls(ca_file: Path | None = None) -> ssl.SSLContext:
    """A context that checks the server's certificate and name. Share one: creating it is slow.

    `ca_file` replaces the trusted certificates of the system: for RDS, by the file global-bundle.pem of AWS.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"ENGINE_DB_CA_FILE: {str(ca_file)!r} is not a readable PEM bundle: {error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
