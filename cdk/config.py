"""The configuration of a deployment: `settings` in cdk.json, then one of `environments`, then the command line.

`-c environment=NAME` chooses the environment (default: dev). `-c engine:KEY=VALUE` replaces one key; its value is JSON
or plain text.
"""

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cdk.bundling import Architecture

DEFAULT_ENVIRONMENT = "dev"
OVERRIDE = "engine:"
CONNECTIONS_PER_ACU = 189
"""Connections per ACU of the maximum, by Aurora's default max_connections; 2,000 at most when the minimum is low."""
CONNECTIONS_AT_LOW_MINIMUM = 2_000
CONNECTIONS_PER_FUNCTION = 3
SHARE_OF_CONNECTIONS = 0.7
CONTROL_CONCURRENCY = 5
SECRET_ARN = r"^arn:[\w-]+:secretsmanager:[\w-]+:\d{12}:secret:.+$"


class ConfigRefused(Exception):
    """An invalid configuration. The message is one sentence that names the key."""


class DatabaseKind(StrEnum):
    AURORA = "aurora"
    INSTANCE = "rds-instance"
    EXTERNAL = "external-url"


class NetworkKind(StrEnum):
    """The functions' way to AWS: IPv6, a NAT gateway, interface endpoints, or no VPC."""

    DUALSTACK = "dualstack"
    NAT = "nat"
    ENDPOINTS = "endpoints"
    NONE = "none"


class MaintenanceKind(StrEnum):
    """The interval of the maintenance tick: six hours, so that the database can pause, or a minute."""

    ON_DEMAND = "on-demand"
    CONTINUOUS = "continuous"


class BundleName(StrEnum):
    CONTROL = "control"
    AI = "ai"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Pool(_Part):
    """A compute class. `memory` is in MB, `timeout` in seconds; `concurrency` limits simultaneous invocations."""

    memory: int = Field(default=1024, ge=128, le=10_240)
    timeout: int = Field(default=300, ge=30, le=900)
    bundle: BundleName = BundleName.CONTROL
    concurrency: int = Field(default=10, ge=2, le=1_000)


type Acu = Annotated[float, Field(ge=0, le=256, multiple_of=0.5)]


class Aurora(_Part):
    """Capacities in ACU (2 GiB each); with a minimum of 0 it pauses after `pause_after` seconds without connections."""

    min_acu: Acu = 0
    max_acu: Acu = 4
    pause_after: int = Field(default=300, ge=300, le=86_400)
    proxy: bool = False


class Instance(_Part):
    """`size` as in db.t4g.micro, without `db.`; `storage` in GB."""

    size: str = Field(default="t4g.micro", pattern=r"^[a-z0-9]+\.[a-z0-9]+$")
    storage: int = Field(default=20, ge=20, le=65_536)


class Config(_Part):
    """The validated configuration.

    `external_secret` is the ARN of a secret with the field `password`, for a URL without one. `model_keys` is the ARN
    of a secret with a field for each provider of models, such as OPENAI_API_KEY. `keep_data` protects the database and
    the bucket from `cdk destroy`. `alarm_topic` is the ARN of an SNS topic.
    """

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,40}$")
    database: DatabaseKind = DatabaseKind.AURORA
    aurora: Aurora = Aurora()
    instance: Instance = Instance()
    external_url: str | None = None
    external_secret: str | None = Field(default=None, pattern=SECRET_ARN)
    network: NetworkKind = NetworkKind.DUALSTACK
    maintenance: MaintenanceKind = MaintenanceKind.ON_DEMAND
    pools: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")], Pool] = Field(
        default={"default": Pool()}, min_length=1
    )
    architecture: Architecture = Architecture.ARM64
    log_days: Literal[7, 14, 30, 90, 365] = 30
    model_keys: str | None = Field(default=None, pattern=SECRET_ARN)
    alarm_topic: str | None = Field(default=None, pattern=r"^arn:[\w-]+:sns:[\w-]+:\d{12}:.+$")
    keep_data: bool = True
    tags: dict[str, str] = {}

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for check in (_check_external, _check_proxy, _check_acu, _check_network, _check_connections):
            check(self)
        return self

    @property
    def pauses(self) -> bool:
        return self.database is DatabaseKind.AURORA and self.aurora.min_acu == 0


def load_config(context: Mapping[str, Any]) -> Config:
    """Raises `ConfigRefused`."""
    environments = context.get("environments") or {}
    chosen = context.get("environment", DEFAULT_ENVIRONMENT)
    if chosen not in environments:
        raise ConfigRefused(
            f"environment: there is no {chosen!r} in cdk.json; choose one of {', '.join(environments)}."
        )
    given = {name.removeprefix(OVERRIDE): _value(text) for name, text in context.items() if name.startswith(OVERRIDE)}
    try:
        return Config.model_validate({**context.get("settings", {}), **environments[chosen], **given})
    except ValidationError as error:
        raise ConfigRefused(_sentence(error.errors()[0])) from error


def _value(given: Any) -> Any:
    try:
        return json.loads(given) if isinstance(given, str) else given
    except ValueError:
        return given


def _sentence(error: Any) -> str:
    message = str(error["msg"]).removeprefix("Value error, ").rstrip(".")
    key = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        return f"{key}: there is no such key."
    if error["type"] == "missing":
        return f"{key}: it must be given."
    return f"{key} is {error['input']!r}: {message}." if key else f"{message}."


def _check_external(config: Config) -> None:
    external = config.database is DatabaseKind.EXTERNAL
    if external and not config.external_url:
        raise ValueError("external_url: database 'external-url' needs the URL of a PostgreSQL database")
    if not external and (config.external_url or config.external_secret):
        raise ValueError(f"external_url: it goes with database 'external-url', not {config.database.value!r}")
    if external and urlsplit(config.external_url or "").password is not None:
        raise ValueError(
            "external_url: it has a password, which the template would show; name a secret with it instead"
            " in external_secret"
        )


def _check_proxy(config: Config) -> None:
    if config.pauses and config.aurora.proxy:
        raise ValueError(
            "aurora.proxy: an RDS Proxy keeps connections open, so that the database never pauses; set aurora.min_acu"
            " to 0.5 or more, or aurora.proxy to false"
        )


def _check_acu(config: Config) -> None:
    if config.aurora.max_acu < max(1.0, config.aurora.min_acu):
        raise ValueError(f"aurora.max_acu is {config.aurora.max_acu:g}: it must be at least 1 and aurora.min_acu")


def _check_network(config: Config) -> None:
    if config.network is NetworkKind.NONE and config.database is not DatabaseKind.EXTERNAL:
        raise ValueError(f"network: database {config.database.value!r} is in a VPC, so 'none' cannot reach it")


def _check_connections(config: Config) -> None:
    if config.database is not DatabaseKind.AURORA or config.aurora.proxy:
        return
    most = CONNECTIONS_PER_ACU * config.aurora.max_acu
    if config.aurora.min_acu <= 0.5:
        most = min(most, CONNECTIONS_AT_LOW_MINIMUM)
    invocations = sum(pool.concurrency for pool in config.pools.values()) + CONTROL_CONCURRENCY
    needed = invocations * CONNECTIONS_PER_FUNCTION
    if needed > most * SHARE_OF_CONNECTIONS:
        raise ValueError(
            f"pools: their concurrency can open {needed} connections, more than {SHARE_OF_CONNECTIONS:.0%} of the"
            f" {most:.0f} that aurora.max_acu {config.aurora.max_acu:g} gives"
        )
