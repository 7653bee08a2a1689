"""Well-known annotation keys, and the function to declare more.

Keys are dotted and lowercase; a plural name holds a list.
"""

import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import AwareDatetime, TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from engine.domain.errors import DefinitionError
from engine.domain.limits import KEY
from engine.domain.shortened import shortened
from engine.domain.values import Json

__all__ = ["Actor", "Approval", "Decision", "Revision", "Trigger", "TypedKey", "typed_key"]

_KEY = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)+")


@dataclass(frozen=True, slots=True)
class Actor:
    """The author of an annotation. `kind` is "user", "agent", "system" …"""

    kind: str
    id: str
    version: str | None = None


@dataclass(frozen=True, slots=True)
class TypedKey[T]:
    """An annotation key that accepts values of one type."""

    key: str
    value_type: type[T] = field(repr=False)
    _adapter: TypeAdapter[T] = field(repr=False, compare=False)

    def to_json(self, value: T) -> Json:
        """The JSON form of the value. Raises `TypeError` when it has another type."""
        try:
            stored = to_jsonable_python(self._adapter.validate_python(value, strict=True))
            json.dumps(stored, allow_nan=False)
        except ValueError as error:
            reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
            raise TypeError(f"annotation {self.key!r} does not take {value!r}: {reason}") from error
        return stored

    def __str__(self) -> str:
        return self.key


def typed_key[T](key: str, value_type: type[T]) -> TypedKey[T]:
    """Declare an annotation key and the type of its values. Raises `DefinitionError` for a malformed key."""
    if len(key) > KEY or not _KEY.fullmatch(key):
        raise DefinitionError(
            f"annotation key {shortened(key)} is not allowed: use lowercase letters, digits and _, "
            f"in words joined by dots, such as 'acme.compliance.signoff', at most {KEY} characters"
        )
    return TypedKey(key, value_type, TypeAdapter(value_type))


class Trigger:
    """The trigger of a run."""

    source = typed_key("trigger.source", str)
    parent_run_id = typed_key("trigger.parent_run_id", str)
    reason = typed_key("trigger.reason", str)
    actor_kind = typed_key("trigger.actor.kind", str)
    actor_id = typed_key("trigger.actor.id", str)


class Decision:
    """A decision, and its reasons."""

    outcome = typed_key("decision.outcome", str)
    rationale = typed_key("decision.rationale", str)
    confidence = typed_key("decision.confidence", float)
    alternatives = typed_key("decision.alternatives", list[Any])
    used_fallback = typed_key("decision.used_fallback", bool)


class Approval:
    """An approval: by whom, when, under which rules."""

    approvers = typed_key("approval.approvers", list[str])
    timestamp: TypedKey[datetime] = TypedKey("approval.timestamp", datetime, TypeAdapter(AwareDatetime))
    policy_version = typed_key("approval.policy.version", str)


class Revision:
    """The run that this run replaces."""

    previous_run_id = typed_key("revision.previous_run_id", str)
    reason = typed_key("revision.reason", str)
