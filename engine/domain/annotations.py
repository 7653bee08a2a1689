"""Annotations as callers give them."""

from typing import Any

from pydantic import BaseModel, ConfigDict


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
