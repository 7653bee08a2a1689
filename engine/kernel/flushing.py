"""Publishes one run's events from the outbox, in order."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from engine.domain.errors import StoreUnavailable
from engine.domain.events import Event, parse_event
from engine.domain.records import OutboxRecord
from engine.kernel.commands import OutboxFlush
from engine.kernel.deps import Deps
from engine.kernel.outputs import load_value
from engine.ports.event_sink import PartiallyDelivered, SinkUnavailable
from engine.ports.transaction import Tx

CLAIM_SECONDS = 60.0
EMIT_SECONDS = CLAIM_SECONDS - 10.0
FIRST_BACKOFF, LONGEST_BACKOFF = 5.0, 3600.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an event was not published, what to store about it, and who had got it all the same."""

    record: OutboxRecord
    patch: Mapping[str, Any]
    delivered: frozenset[str]
    dead: bool
    retry_in: float


@dataclass(slots=True)
class FlushCounts:
    published: int = 0
    failed: int = 0
    dead_lettered: int = 0
    taken: int = 0
    ids: list[str] = field(default_factory=list)


def flush_run(run_id: str, deps: Deps, *, limit: int) -> FlushCounts:
    """Claims the run's open events, emits them with no transaction open, and marks what came of it.

    A refused event holds back the later ones; a dead one lets them pass.
    """
    token = deps.ids.token()
    records = deps.persistence.transact(
        lambda tx: tx.outbox.claim(run_id, token=token, seconds=CLAIM_SECONDS, limit=limit)
    )
    counts = FlushCounts(taken=len(records))
    refusals = []
    give_up_at = time.monotonic() + EMIT_SECONDS
    for record in records:
        if time.monotonic() > give_up_at:
            break
        refusal = _emit(record, deps)
        if refusal is None:
            counts.ids.append(record.id)
            continue
        refusals.append(refusal)
        if not refusal.dead:
            break
    if records:
        _mark(run_id, token, counts, refusals, deps)
    return counts


def _emit(record: OutboxRecord, deps: Deps) -> Refusal | None:
    skip: frozenset[str] = frozenset()
    if record.last_error is not None:
        skip = deps.persistence.read(lambda tx: tx.outbox.delivered(record.id))
    try:
        deps.event_sink.emit(_event(record, deps), skip=skip)
    except (SinkUnavailable, StoreUnavailable) as error:
        return _refusal(record, error, frozenset(), deps, counts=False)
    except PartiallyDelivered as error:
        counts = not isinstance(error.cause, SinkUnavailable)
        return _refusal(record, error, error.delivered, deps, counts=counts)
    except Exception as error:  # noqa: BLE001 - sinks and plugins are foreign code; the error is stored with the event
        return _refusal(record, error, frozenset(), deps, counts=True)
    return None


def _event(record: OutboxRecord, deps: Deps) -> Event:
    payload = dict(record.payload)
    if record.event_type == "workflow:completed" and payload.get("output") is not None:
        payload["output"] = load_value(payload["output"], deps.blob_store)
    return parse_event(payload, sequence=record.sequence, event_id=record.id)


def _refusal(record: OutboxRecord, error: Exception, delivered: frozenset[str], deps: Deps, *, counts: bool) -> Refusal:
    tries = record.retry_count + counts
    dead = counts and tries >= deps.event_sink.max_retries
    now = deps.clock.now()
    # Tries that do not count leave no count: waiting as long again as the event has waited doubles all the same.
    waited = FIRST_BACKOFF * 2 ** max(0, tries - 1) if counts else (now - record.occurred_at).total_seconds()
    retry_in = min(LONGEST_BACKOFF, max(FIRST_BACKOFF, waited))
    patch = {
        "retry_count": tries,
        "last_error": str(error).replace("\x00", "") or type(error).__name__,
        "next_attempt_at": None if dead else now + timedelta(seconds=retry_in),
        "dlq_at": now if dead else None,
    }
    return Refusal(record, patch, delivered, dead, retry_in)


def _mark(run_id: str, token: str, counts: FlushCounts, refusals: list[Refusal], deps: Deps) -> None:
    at = deps.clock.now()
    for refusal in refusals:
        if not refusal.dead:
            again = OutboxFlush(workflow_run_id=run_id).model_dump(mode="json")
            deps.scheduler.wake(again, at + timedelta(seconds=refusal.retry_in))

    def mark(tx: Tx) -> int:
        marked = tx.outbox.published(counts.ids, token=token, at=at) if counts.ids else 0
        for refusal in refusals:
            if refusal.delivered:
                tx.outbox.mark_delivered(refusal.record.id, refusal.delivered)
            tx.outbox.put_back(run_id, token=token, patch=refusal.patch, event_id=refusal.record.id)
        if not refusals and len(counts.ids) < counts.taken:
            tx.outbox.put_back(run_id, token=token)
        return marked

    counts.published = deps.persistence.transact(mark)
    counts.failed = sum(not refusal.dead for refusal in refusals)
    counts.dead_lettered = sum(refusal.dead for refusal in refusals)
