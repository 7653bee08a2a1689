"""From what a caller attaches to the rows and events that tell of it."""

from collections.abc import Callable
from dataclasses import replace

from engine.domain.errors import InvalidInput
from engine.domain.events import AnnotationCreated
from engine.domain.records import AnnotationRecord
from engine.kernel.commands import AnnotationInput
from engine.ports.write_set import AnnotationDraft

MAX_KEY_LENGTH = 200


def annotation_drafts(
    given: AnnotationInput, blank: AnnotationRecord, *, workflow_id: str, new_id: Callable[[], str]
) -> tuple[AnnotationDraft, ...]:
    """One draft for each attribute that is not None; `blank` says which run, scope and generation it belongs to."""
    return tuple(
        _draft(replace(_described(blank, given), id=new_id(), key=_checked(key), value=value), given, workflow_id)
        for key, value in given.attributes.items()
        if value is not None
    )


def _described(blank: AnnotationRecord, given: AnnotationInput) -> AnnotationRecord:
    actor = given.actor
    return replace(
        blank,
        actor_kind=actor.kind if actor else None,
        actor_id=actor.id if actor else None,
        actor_version=actor.version if actor else None,
        payload=given.payload,
        idempotency_key=given.idempotency_key,
    )


def _checked(key: str) -> str:
    if not key or len(key) > MAX_KEY_LENGTH or key != key.strip():
        raise InvalidInput(f"annotation key {key!r} must be 1 to {MAX_KEY_LENGTH} characters without spaces around it")
    return key


def _draft(record: AnnotationRecord, given: AnnotationInput, workflow_id: str) -> AnnotationDraft:
    if not given.emit_event:
        return AnnotationDraft(record=record)
    event = AnnotationCreated(
        timestamp=record.created_at,
        workflow_run_id=record.workflow_run_id,
        workflow_id=workflow_id,
        annotation_id=record.id,
        key=record.key,
        value=record.value,
        scope=record.scope,
        scope_id=record.scope_id,
        generation=record.generation,
        actor_kind=record.actor_kind,
        actor_id=record.actor_id,
    )
    return AnnotationDraft(record=record, event=event)
