"""`--fake-ai`: a server in this process answers for every model."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated

import typer

from engine.cli.invocation import Invocation

FakeAI = Annotated[bool, typer.Option("--fake-ai", help="Models made up here: no key, no cost.")]


@contextmanager
def with_fake_ai(invocation: Invocation, *, kept: bool) -> Iterator[Invocation]:
    """The invocation with its models on loopback. `kept` stores batches in the home, so that a run can be resumed."""
    from engine.testing.fake_ai import FakeAIServer  # noqa: PLC0415 — only wanted with the flag

    folder = invocation.settings().home / "fake-ai" if kept else None
    with FakeAIServer(folder, batch_seconds=2.0) as server:
        yield replace(invocation, ai_base_url=server.url)
