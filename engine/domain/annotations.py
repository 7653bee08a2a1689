"""Annotations as callers give them."""

from collections.abc import Iterable
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from engine.domain.errors import InvalidInput
from engine.domain.limits import KEY, check_length


class ActorInput(BaseModel):
    """The author: a kind ("user", "agent", "system"), an id and, if it matters, a version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    id: str
    version: str | None = None


class AnnotationInput(BaseModel):
    """Annotations to attach. None values are dropped; repeats under one idempotency key are skipped."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attributes: dict[str, Any]
    actor: ActorInput | None = None
    payload: Any = None
    idempotency_key: str | None = None
    emit_event: bool = False


class Author(Protocol):
    """An actor in either form."""

    @property
    def kind(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def version(self) -> str | None: ...


def check_texts(keys: Iterable[str], actor: Author | None, idempotency_key: str | None) -> None:
    """Raises `InvalidInput` for the first text that is too long, and for a key that nobody could search for."""
    for key in keys:
        check_length("annotation key", key, KEY)
        if not key or key != key.strip():
            raise InvalidInput(f"annotation key {key!r} must be 1 to {KEY} characters without spaces around it")
    check_length("annotation idempotency_key", idempotency_key or "", KEY)
    if actor is not None:
        for part in ("kind", "id", "version"):
            check_length(f"annotation actor.{part}", getattr(actor, part) or "", KEY)
