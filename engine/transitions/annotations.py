"""Annotations of a caller, turned into rows and events."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from engine.domain.annotations import AnnotationInput, check_texts
from engine.domain.events import AnnotationCreated
from engine.domain.records import AnnotationRecord
from engine.transitions.facts import AnnotationDraft

type KnownAnnotations = frozenset[tuple[str, str]]
"""(key, idempotency key) of the annotations that are stored with the run."""


def needs_known(drafts: Iterable[AnnotationDraft]) -> bool:
    """Whether stored annotations must be read first: a store skips a repeated row, but not the event of it."""
    return any(draft.event is not None and draft.record.idempotency_key is not None for draft in drafts)


def without_repeats(
    drafts: Iterable[AnnotationDraft], known: KnownAnnotations = frozenset()
) -> tuple[AnnotationDraft, ...]:
    """Drops later annotations under the same idempotency key, with their events."""
    seen, kept = set(known), []
    for draft in drafts:
        if draft.record.idempotency_key is not None:
            identity = (draft.record.key, draft.record.idempotency_key)
            if identity in seen:
                continue
            seen.add(identity)
        kept.append(draft)
    return tuple(kept)


def annotation_drafts(
    given: AnnotationInput, blank: AnnotationRecord, *, workflow_id: str, new_id: Callable[[], str]
) -> tuple[AnnotationDraft, ...]:
    """One draft for each attribute that is not None; run, scope and generation come from `blank`.

    Raises `InvalidInput` for a key or another text that cannot be stored.
    """
    check_texts(given.attributes, given.actor, given.idempotency_key)
    return tuple(
        _draft(replace(_described(blank, given), id=new_id(), key=key, value=value), given, workflow_id)
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
