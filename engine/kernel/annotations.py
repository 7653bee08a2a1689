"""Annotations of runs and stages: attach and list."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from engine.domain.annotations import ActorInput, AnnotationInput
from engine.domain.errors import NotFound
from engine.domain.records import AnnotationRecord
from engine.domain.values import Json, checked
from engine.kernel.deciding import known_annotations
from engine.kernel.notifying import SAFETY_WAKE, schedule_wakeup
from engine.ports.changes import Changes, Reason, Refused
from engine.ports.deps import Deps
from engine.ports.persistence import LockedRun
from engine.ports.transaction import AnnotationFilter
from engine.reading.reads import StoredReads
from engine.transitions.annotations import annotation_drafts, needs_known
from engine.transitions.start_run import attach


def blank_run_annotation(run_id: str, at: datetime, *, scope: str = "run", scope_id: str = "") -> AnnotationRecord:
    return AnnotationRecord(
        id="",
        workflow_run_id=run_id,
        scope=scope,
        scope_id=scope_id or run_id,
        generation=0,
        key="",
        value=None,
        created_at=at,
    )


class Annotations:
    """`kernel.annotations`."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def attach(
        self,
        run_id: str,
        *,
        attributes: Mapping[str, Json],
        actor: ActorInput | Mapping[str, Any] | None = None,
        scope: str = "run",
        scope_id: str = "",
        payload: Json = None,
        idempotency_key: str | None = None,
        emit_event: bool = False,
    ) -> None:
        """Attaches annotations in one transaction. Repeats under one idempotency key are skipped, with their events.

        Raises `NotFound` for an unknown run, and `InvalidInput` for a value that is not JSON or a text that is too
        long: keys, idempotency keys and the parts of an actor have at most 200 characters.
        """
        given = AnnotationInput(
            attributes=checked(attributes, "annotation"),
            actor=ActorInput.model_validate(actor) if actor else None,
            payload=checked(payload, "annotation payload"),
            idempotency_key=idempotency_key,
            emit_event=emit_event,
        )
        deps, at = self._deps, self._deps.clock.now()
        run = deps.persistence.read(lambda tx: tx.runs.get(run_id))
        blank = blank_run_annotation(run_id, at, scope=scope, scope_id=scope_id)
        drafts = annotation_drafts(given, blank, workflow_id=run.workflow_id, new_id=deps.ids.new)
        if emit_event:
            schedule_wakeup(run_id, at + SAFETY_WAKE, deps)

        def decision(locked: LockedRun) -> Changes | Refused:
            known = known_annotations(drafts, locked) if needs_known(drafts) else frozenset()
            return attach(locked.run, drafts, known, at) if locked.run else Refused(Reason.GHOST)

        written = deps.persistence.decide(run_id, decision)
        if isinstance(written, Refused) and written.reason is Reason.GHOST:
            raise NotFound("run", run_id)

    def list(self, run_id: str, **where: Any) -> Sequence[AnnotationRecord]:
        """Annotations that meet all conditions (the fields of `AnnotationFilter`), by created_at, then insertion.

        Legacy run metadata appears as `legacy.metadata.*` until a row of that key exists. Raises `NotFound`.
        """
        reads = StoredReads(self._deps.persistence, self._deps.blob_store)
        return reads.annotations(run_id, AnnotationFilter(**where))
