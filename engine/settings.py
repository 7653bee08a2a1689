"""Configuration: environment variables, read once, into one frozen object."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from engine.domain.errors import SettingsError

PREFIX = "ENGINE_"
SHARED_VARIABLES: Mapping[str, str] = {
    "DATABASE_URL": "database_url",
    "INLINE_OUTPUT_MAX_BYTES": "inline_output_max_bytes",
    "AI_LOG_CONTENT": "ai_log_content",
    "ANTHROPIC_API_KEY": "anthropic_api_key",
    "GEMINI_API_KEY": "gemini_api_key",
    "OPENAI_API_KEY": "openai_api_key",
}


class Pool(BaseModel):
    """A compute class on AWS: its work queue, and the timeout of its function in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    queue_url: str
    timeout: float = Field(default=300.0, gt=0, le=900)


class Settings(BaseModel):
    """The settings of a process. The variable ENGINE_ + a field's name in capitals sets it, except for DATABASE_URL,
    INLINE_OUTPUT_MAX_BYTES, AI_LOG_CONTENT and the keys of providers.

    `home`: where the embedded profile keeps its database, blobs and locks. `registry`: `module:attribute` of the
    mapping of workflow ids. `code`: the folder from which the registry's modules are imported, besides the Python path.
    `inline_output_max_bytes`: outputs up to this size stay in their row; 0 sends all to the blob store.
    `ai_log_content`: the stored form of prompts and answers (full, hash or none). `ai_base_url`: an OpenAI-compatible
    server that answers for every model, instead of the providers; `ai_api_key` is its key.

    Profile aws: `pools` as JSON, one entry a pool; `bucket` for blobs; `event_bus`; the control queue for wake-ups,
    with the role and dead-letter queue of its schedules; `dead_letter_queue_url` for undecodable messages.
    `database_login`: `url` (all in DATABASE_URL), `iam` (signed tokens) or `secret` (`database_secret`: its ARN).
    `database_role`: the functions' role, which the migration creates. `model_keys_secret`: ARN of a secret with the
    keys of model providers, a JSON object by variable name.
    """

    # A validation error, which a traceback prints, would contain all settings, and so the secrets.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    profile: Literal["embedded", "aws"] = "embedded"
    home: Path = Path(".engine")
    code: Path = Path()
    registry: str = Field(default="functions.workflows.registry:WORKFLOWS", pattern=r"^[\w.]+:\w+$")
    database_url: str | None = Field(default=None, repr=False)
    inline_output_max_bytes: int = Field(default=8192, ge=0)
    ai_log_content: Literal["full", "hash", "none"] = "full"
    ai_base_url: str | None = None
    ai_api_key: str | None = Field(default=None, repr=False)
    anthropic_api_key: str | None = Field(default=None, repr=False)
    gemini_api_key: str | None = Field(default=None, repr=False)
    openai_api_key: str | None = Field(default=None, repr=False)
    pools: dict[str, Pool] = {}
    bucket: str | None = None
    event_bus: str | None = None
    control_queue_url: str | None = None
    control_queue_arn: str | None = None
    schedule_role_arn: str | None = None
    schedule_group: str = "default"
    schedule_dead_letter_arn: str | None = None
    dead_letter_queue_url: str | None = None
    database_login: Literal["url", "iam", "secret"] = "url"
    database_secret: str | None = None
    database_role: str | None = None
    model_keys_secret: str | None = None

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **overrides: Any) -> Self:
        """Settings from environment variables. Overrides that are not None take precedence.

        Raises `SettingsError` with each variable that is unknown, missing or invalid.
        """
        variables = os.environ if environ is None else environ
        unknown = sorted(name for name in variables if name.startswith(PREFIX) and name not in _fields())
        if unknown:
            raise SettingsError(f"{', '.join(unknown)}: no such setting; there are {', '.join(_fields())}")
        given = {field: variables[name] for name, field in _fields().items() if variables.get(name)}
        given |= {field: value for field, value in overrides.items() if value is not None}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise SettingsError("; ".join(_problem(dict(each), given) for each in error.errors())) from error

    @field_validator("pools", mode="before")
    @classmethod
    def _read_pools(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError as error:
            raise ValueError(f"not JSON: {error}") from error

    @model_validator(mode="after")
    def _has_all_that_its_profile_needs(self) -> Self:
        if self.profile == "embedded":
            return self
        needed = ["database_url", "pools", "bucket", "event_bus", "control_queue_url"]
        needed += ["control_queue_arn", "schedule_role_arn"]
        needed += ["database_secret"] if self.database_login == "secret" else []
        missing = [variable_of(field) for field in needed if not getattr(self, field)]
        if missing:
            raise ValueError(f"profile aws needs {', '.join(missing)}")
        return self

    @property
    def store_url(self) -> str:
        """The given URL of the database, or that of the embedded SQLite file."""
        return self.database_url or f"sqlite:///{self.home / 'engine.db'}"

    @property
    def blobs(self) -> Path:
        return self.home / "blobs"

    @property
    def worker_locks(self) -> Path:
        return self.home / "workers"


def variable_of(field: str) -> str:
    """The environment variable of a field of `Settings`."""
    return next((name for name, known in SHARED_VARIABLES.items() if known == field), f"{PREFIX}{field.upper()}")


def _fields() -> dict[str, str]:
    return {variable_of(field): field for field in Settings.model_fields}


def _problem(error: dict[str, Any], given: Mapping[str, Any]) -> str:
    if not error["loc"]:
        return str(error["msg"]).removeprefix("Value error, ")
    field = str(error["loc"][0])
    return f"{variable_of(field)} is {given.get(field)!r}: {error['msg']}"
