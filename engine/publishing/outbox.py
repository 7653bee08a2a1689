"""Publishes the events of the outbox, in the order of each run.

The race: two flushers find the same run, and one of them may be slow or dead. So a flusher claims the open events of a
run under a token and for a limited time, emits them with no transaction open, and marks only events that still carry
its token. It emits no further event in the last seconds of its claim, so that the next claimant does not emit beside
it. If it dies, its claim expires and the events are published again under the same ids: delivery is in order, and at
least once."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any, Self

from engine.domain.errors import BlobNotFound, EngineError, StoreUnavailable
from engine.domain.events import Event, parse_event
from engine.domain.records import OutboxRecord
from engine.domain.values import Json, StoredValue
from engine.ports.blob_store import load_value
from engine.ports.deps import Deps
from engine.ports.event_sink import BatchingSink, PartiallyDelivered, SinkUnavailable
from engine.ports.transaction import Tx

logger = logging.getLogger(__name__)

CLAIM_SECONDS = 60.0
EMIT_SECONDS = CLAIM_SECONDS - 10.0
FIRST_BACKOFF, LONGEST_BACKOFF = 5.0, 3600.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """The refusal of an event: the patch of its row, and the receivers that had handled it before the failure."""

    record: OutboxRecord
    patch: Mapping[str, Any]
    delivered: frozenset[str]
    dead: bool
    retry_in: float


@dataclass(frozen=True, slots=True)
class FlushCounts:
    published: int = 0
    failed: int = 0
    dead_lettered: int = 0

    def __add__(self, other: Self) -> Self:
        return replace(
            self,
            published=self.published + other.published,
            failed=self.failed + other.failed,
            dead_lettered=self.dead_lettered + other.dead_lettered,
        )

    @property
    def events(self) -> int:
        return self.published + self.failed + self.dead_lettered


def flush_run(run_id: str, deps: Deps, *, limit: int) -> FlushCounts:
    """Publishes the run's open events that are due. A refused event blocks the later ones; a dead one does not."""
    total = FlushCounts()
    while total.events < limit:
        counts = _flush_until_refused(run_id, deps, limit=limit - total.events)
        total += counts
        if not counts.dead_lettered:
            break
    return total


def _flush_until_refused(run_id: str, deps: Deps, *, limit: int) -> FlushCounts:
    """Claims events, emits them up to the first refusal, and marks the result."""
    token = deps.ids.token()
    records, held_until = deps.persistence.transact(lambda tx: _claim(tx, run_id, token, limit))
    if held_until is not None:
        # The other flusher may be dead, and the message of this flush may be the last one.
        deps.scheduler.wake(_flush_command(run_id), held_until)
    if not records:
        return FlushCounts()
    delivered_count, refusal = _emit_in_order(records, deps)
    emitted = [record.id for record in records[:delivered_count]]
    published = _mark(run_id, token, emitted, refusal, deps, all_emitted=delivered_count == len(records))
    if published < len(emitted):
        # Another flusher has taken the events over and may be dead, and the message of this flush may be the last one.
        deps.scheduler.wake(_flush_command(run_id), deps.clock.now() + timedelta(seconds=CLAIM_SECONDS))
    is_dead = refusal is not None and refusal.dead
    return FlushCounts(published, failed=int(refusal is not None and not is_dead), dead_lettered=int(is_dead))


def _claim(tx: Tx, run_id: str, token: str, limit: int) -> tuple[Sequence[OutboxRecord], datetime | None]:
    """The claimed events, or the end of another flusher's claim on them."""
    records = tx.outbox.claim(run_id, token=token, seconds=CLAIM_SECONDS, limit=limit)
    return records, None if records else tx.outbox.claimed_until(run_id)


def _flush_command(run_id: str) -> Mapping[str, Any]:
    return {"type": "outbox.flush", "workflow_run_id": run_id}


def _emit_in_order(records: Sequence[OutboxRecord], deps: Deps) -> tuple[int, Refusal | None]:
    """The number of delivered events, and the refusal of the next one, if any."""
    deadline = time.monotonic() + EMIT_SECONDS
    delivered_count = 0
    while delivered_count < len(records) and time.monotonic() < deadline:
        together = _emit_together(records[delivered_count:], deps)
        if together == 0:
            refusal = _emit(records[delivered_count], deps)
            if refusal is not None:
                return delivered_count, refusal
        delivered_count += together or 1
    return delivered_count, None


def _emit_together(records: Sequence[OutboxRecord], deps: Deps) -> int:
    """The number of events that a batching sink took in one call. An event that failed before is emitted alone."""
    if not isinstance(deps.event_sink, BatchingSink):
        return 0
    events: list[Event] = []
    for record in takewhile(lambda record: record.last_error is None, records):
        try:
            events.append(_event(record, deps))
        except (EngineError, ValueError):  # its own emit reports the error
            break
    return deps.event_sink.emit_first(events) if len(events) > 1 else 0


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
        payload["output"] = _output(payload["output"], deps)
    return parse_event(payload, sequence=record.sequence, event_id=record.id, timestamp=record.occurred_at)


def _output(stored: StoredValue, deps: Deps) -> Json:
    """None if a rerun has deleted the output: it will not exist again, and the event must not wait for it."""
    try:
        return load_value(stored, deps.blob_store)
    except BlobNotFound:
        logger.warning("the output of a completed run is gone; its event is published without it: %s", stored)
        return None


def _refusal(record: OutboxRecord, error: Exception, delivered: frozenset[str], deps: Deps, *, counts: bool) -> Refusal:
    tries = record.retry_count + counts
    dead = counts and tries >= deps.event_sink.max_retries
    now = deps.clock.now()
    # An uncounted try leaves retry_count unchanged. Waiting for the age of the event doubles the delay without it.
    waited = FIRST_BACKOFF * 2 ** max(0, tries - 1) if counts else (now - record.occurred_at).total_seconds()
    retry_in = min(LONGEST_BACKOFF, max(FIRST_BACKOFF, waited))
    patch = {
        "retry_count": tries,
        "last_error": str(error).replace("\x00", "") or type(error).__name__,
        "next_attempt_at": None if dead else now + timedelta(seconds=retry_in),
        "dlq_at": now if dead else None,
    }
    return Refusal(record, patch, delivered, dead, retry_in)


def _mark(
    run_id: str, token: str, emitted: Sequence[str], refusal: Refusal | None, deps: Deps, *, all_emitted: bool
) -> int:
    at = deps.clock.now()
    if refusal is not None and not refusal.dead:
        deps.scheduler.wake(_flush_command(run_id), at + timedelta(seconds=refusal.retry_in))

    def mark(tx: Tx) -> int:
        marked = tx.outbox.published(emitted, token=token, at=at) if emitted else 0
        if refusal is not None:
            if refusal.delivered:
                tx.outbox.mark_delivered(refusal.record.id, refusal.delivered)
            tx.outbox.release_claim(run_id, token=token, patch=refusal.patch, event_id=refusal.record.id)
        elif not all_emitted:
            tx.outbox.release_claim(run_id, token=token)
        return marked

    return deps.persistence.transact(mark)
