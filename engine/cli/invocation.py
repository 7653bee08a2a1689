"""The global options of one CLI call, and the engine or client that they select."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from engine.bootstrap.registry import load_registry
from engine.domain.errors import InvalidInput
from engine.ports.registry import Registry
from engine.settings import Settings

if TYPE_CHECKING:
    from engine.bootstrap.client import Client
    from engine.bootstrap.embedded import Engine

FakeAI = Annotated[bool, typer.Option("--fake-ai", help="Answer model calls with made-up text: no key, no cost.")]

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
    from engine.adapters.sql.database_url import parse_url  # noqa: PLC0415 — brings the database libraries

    return parse_url(url).render_as_string(hide_password=True)


class NoDatabaseYet(InvalidInput):
    """The embedded profile has no database yet, so there is nothing to read."""

    code = "NOTHING_HERE"


class NoHomeThere(InvalidInput):
    """The folder that --home or ENGINE_HOME names has no database. It may be misspelt."""

    code = "NO_HOME_THERE"


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

    def refuse_with_stack(self, **options: bool) -> None:
        """Raises `InvalidInput` when a stack is selected and one of these options is given."""
        given = [f"--{name.replace('_', '-')}" for name, is_given in options.items() if is_given]
        if self.stack is not None and given:
            raise InvalidInput(f"--stack runs where it is deployed; leave out {' and '.join(given)}")

    @contextmanager
    def with_fake_ai(self, *, kept: bool, create: bool = True) -> Iterator["Invocation"]:
        """This invocation with its models on loopback. `kept` stores batches in the home, so that a run can be
        resumed. Without `create` it raises what `engine` raises for a missing database.
        """
        if not create:
            _require_database(self.settings())
        from engine.testing.fake_ai import FakeAIServer  # noqa: PLC0415 — only needed with the option

        folder = self.settings().home / "fake-ai" if kept else None
        with FakeAIServer(folder, batch_seconds=2.0) as server:
            yield replace(self, ai_base_url=server.url)

    @contextmanager
    def engine(self, *, create: bool = False, works: bool = False) -> Iterator["Engine"]:
        """This machine's engine. Missing stores are created with `create`; `works` creates a home beside a database
        that a URL names, because runs write to it.

        Raises `NoDatabaseYet`, or `NoHomeThere` when the home was named; and the errors of `open_engine`.
        """
        from engine.bootstrap.embedded import open_engine  # noqa: PLC0415 — brings the database libraries

        settings = self.settings()
        if not create:
            _require_database(settings)
        reading = not create and (settings.home.is_dir() or not works)
        with open_engine(settings, reading=reading) as engine:
            yield engine

    @contextmanager
    def client(self) -> Iterator["Client"]:
        """A client of the engine that the options select. Raises the errors of `engine` and `open_stack`."""
        from engine.bootstrap.client import KernelClient  # noqa: PLC0415 — brings the kernel

        if self.stack == LOCAL:
            from engine.localcloud.running import open_running  # noqa: PLC0415 — brings boto3 and the database libraries

            with open_running(self.settings().home) as local:
                yield local
        elif self.stack is not None:
            from engine.bootstrap.stack import open_stack  # noqa: PLC0415 — brings boto3

            yield open_stack(self.stack, self.registry())
        else:
            with self.engine() as engine:
                yield KernelClient(engine.kernel)

    @contextmanager
    def client_and_engine(self, *, create: bool = False) -> Iterator[tuple["Client", "Engine | None"]]:
        """A client, and the engine behind it if it is this machine's, which can then work on runs itself."""
        from engine.bootstrap.client import KernelClient  # noqa: PLC0415 — brings the kernel

        if self.stack is not None:
            with self.client() as client:
                yield client, None
        else:
            with self.engine(create=create, works=True) as engine:
                yield KernelClient(engine.kernel), engine


def _require_database(settings: Settings) -> None:
    """Raises `NoDatabaseYet` or `NoHomeThere`. A database that a URL names is not looked for."""
    home = settings.home
    if settings.database_url is not None or (home / "engine.db").exists():
        return
    if "home" in settings.model_fields_set:
        raise NoHomeThere(
            f"there is no engine home at {str(home)!r}; correct --home or ENGINE_HOME, or start a run there with"
            " `engine run`"
        )
    raise NoDatabaseYet(f"no runs in {str(home)!r} yet; start one with `engine run`, or give another --home")
