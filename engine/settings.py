"""Configuration: environment variables, read once, into one frozen object."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.domain.errors import SettingsError

VARIABLES: Mapping[str, str] = {
    "ENGINE_PROFILE": "profile",
    "ENGINE_HOME": "home",
    "ENGINE_REGISTRY": "registry",
    "ENGINE_CODE": "code",
    "DATABASE_URL": "database_url",
    "INLINE_OUTPUT_MAX_BYTES": "inline_output_max_bytes",
}
PREFIX = "ENGINE_"


class Settings(BaseModel):
    """What a process needs to know. Immutable.

    `home`: where the embedded profile keeps its database, blobs and locks. `registry`: `module:attribute` of the
    mapping of workflow ids. `code`: the folder from which the registry's modules are imported, besides the Python path.
    `inline_output_max_bytes`: outputs up to this size stay in their row; 0 sends all to the blob store.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    profile: Literal["embedded"] = "embedded"
    home: Path = Path(".engine")
    code: Path = Path()
    registry: str = Field(default="functions.workflows.registry:WORKFLOWS", pattern=r"^[\w.]+:\w+$")
    database_url: str | None = None
    inline_output_max_bytes: int = Field(default=8192, ge=0)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **overrides: Any) -> Self:
        """Settings from environment variables; overrides that are not None win.

        Raises `SettingsError` naming each variable that is unknown or has a value that cannot be used.
        """
        variables = os.environ if environ is None else environ
        unknown = sorted(name for name in variables if name.startswith(PREFIX) and name not in VARIABLES)
        problems = [f"{name} is not a setting; there are {', '.join(VARIABLES)}" for name in unknown]
        given = {field: variables[name] for name, field in VARIABLES.items() if variables.get(name)}
        given |= {field: value for field, value in overrides.items() if value is not None}
        if problems:
            raise SettingsError("; ".join(problems))
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise SettingsError("; ".join(_problem(dict(each), given) for each in error.errors())) from error

    @property
    def store_url(self) -> str:
        """The database's URL: the one given, or the embedded SQLite file."""
        return self.database_url or f"sqlite:///{self.home / 'engine.db'}"

    @property
    def blobs(self) -> Path:
        return self.home / "blobs"

    @property
    def worker_locks(self) -> Path:
        return self.home / "workers"


def _problem(error: dict[str, Any], given: Mapping[str, Any]) -> str:
    field = str(error["loc"][0]) if error["loc"] else ""
    name = next((variable for variable, known in VARIABLES.items() if known == field), field)
    return f"{name} is {given.get(field)!r}: {error['msg']}"
