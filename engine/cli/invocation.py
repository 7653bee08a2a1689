"""The global options of one CLI call, and the engine that they select."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from engine.bootstrap.registry import load_registry
from engine.domain.errors import InvalidInput
from engine.ports.registry import Registry
from engine.settings import Settings

if TYPE_CHECKING:
    from engine.bootstrap.embedded import Engine


LOCAL = "local"
"""The name of the stack that means the home's local cloud."""


class OutputFormat(StrEnum):
    TEXT = "text"
    JSON = "json"


def program() -> Path:
    """The command that calls this script again: its name if the shell finds it, else the path of this call."""
    called, name = Path(sys.argv[0]), Path("engine")
    if called.name != name.name:
        return name
    found = shutil.which(name)
    return name if found is not None and Path(found).resolve() == called.resolve() else called


def without_password(url: str) -> str:
    """The URL for display, with `***` for its password."""
    password = urlsplit(url).password
    return url if password is None else url.replace(f":{password}@", ":***@", 1)


class NoDatabaseYet(InvalidInput):
    """The embedded profile has no database yet, so there is nothing to read."""

    code = "NOTHING_HERE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """The global options. Options that were not given keep the environment's settings."""

    profile: str | None = None
    home: Path | None = None
    database_url: str | None = None
    stack: str | None = None
    output: OutputFormat = OutputFormat.TEXT
    debug: bool = False
    ai_base_url: str | None = None

    @property
    def json(self) -> bool:
        return self.output is OutputFormat.JSON

    @property
    def command(self) -> str:
        """The command line that finds the same runs."""
        words = [str(program())]
        if self.home is not None and self.stack in {None, LOCAL}:
            words += ["--home", str(self.home)]
        if self.stack is not None:
            words += ["--stack", self.stack]
        elif self.database_url is not None:
            words += ["--database-url", without_password(self.database_url)]
        return " ".join(quote(word) for word in words)

    @property
    def look_every(self) -> float:
        """Seconds between two polls of a run. Polling a stack invokes its function a few times."""
        return 0.1 if self.stack is None else 1.0

    def settings(self) -> Settings:
        """Raises `SettingsError`."""
        return Settings.from_env(
            profile=self.profile, home=self.home, database_url=self.database_url, ai_base_url=self.ai_base_url
        )

    def registry(self) -> Registry:
        """Opens nothing. Raises `SettingsError`."""
        return load_registry(self.settings())

    @contextmanager
    def opened(self, *, reading: bool = False) -> Iterator["Engine"]:
        """Opens the engine and creates its missing stores; with a stack, opens the stack.

        Raises the errors of `open_engine` and `open_stack`.
        """
        if self.stack == LOCAL:
            from engine.localcloud.running import open_running  # noqa: PLC0415 — brings boto3 and the database libraries

            with open_running(self.settings().home) as local:
                yield cast("Engine", local)
            return
        if self.stack is not None:
            from engine.bootstrap.stack import open_stack  # noqa: PLC0415 — brings boto3

            # A stack has the part of an engine that the commands for runs use.
            yield cast("Engine", open_stack(self.stack, self.registry()))
            return
        from engine.bootstrap.embedded import open_engine  # noqa: PLC0415 — brings the database libraries

        with open_engine(self.settings(), reading=reading) as engine:
            yield engine

    @contextmanager
    def reading(self) -> Iterator["Engine"]:
        """Opens the engine for reading. Raises `NoDatabaseYet` instead of creating an empty database."""
        settings = self.settings()
        if self.stack is None and settings.database_url is None and not (settings.home / "engine.db").exists():
            raise NoDatabaseYet(f"no runs in {str(settings.home)!r} yet; start one with `engine run`, or say --home")
        with self.opened(reading=True) as engine:
            yield engine
