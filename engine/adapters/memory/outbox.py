from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from engine.adapters.memory.tables import Tables
from engine.domain.records import OutboxRecord
from engine.ports.changes import Patch

_UNCLAIMED = {"claim_token": None, "claimed_until": None}


class MemoryOutbox:
    def __init__(self, tables: Tables) -> None:
        self._tables, self._rows = tables, tables.outbox

    def ready(self, limit: int) -> Sequence[str]:
        now = self._tables.clock.now()
        firsts = [events[0] for run_id in self._rows.runs() if (events := self._open(run_id))]
        ready = (event for event in firsts if _may_be_claimed(event, now))
        in_order = sorted(ready, key=lambda event: (event.occurred_at, event.id))
        return [event.workflow_run_id for event in in_order[:limit]]

    def claim(self, run_id: str, *, token: str, seconds: float, limit: int) -> Sequence[OutboxRecord]:
        now = self._tables.clock.now()
        events = self._open(run_id)[:limit]
        if not events or not _may_be_claimed(events[0], now) or any(_is_claimed(event, now) for event in events):
            return []
        claim = {"claim_token": token, "claimed_until": now + timedelta(seconds=seconds)}
        return [self._rows.update(event.id, claim) for event in events]

    def claimed_until(self, run_id: str) -> datetime | None:
        now = self._tables.clock.now()
        ends = (event.claimed_until for event in self._open(run_id))
        return max((end for end in ends if end is not None and end > now), default=None)

    def published(self, event_ids: Sequence[str], *, token: str, at: datetime) -> int:
        held = [event_id for event_id in event_ids if self._is_held(event_id, token)]
        for event_id in held:
            self._rows.update(event_id, {"published_at": at, **_UNCLAIMED})
        return len(held)

    def release_claim(
        self, run_id: str, *, token: str, patch: Patch | None = None, event_id: str | None = None
    ) -> None:
        for event in self._rows.of_run(run_id):
            if event.claim_token == token:
                change = patch if patch is not None and event.id == event_id else {}
                self._rows.update(event.id, {**change, **_UNCLAIMED})

    def of_run(self, run_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[OutboxRecord]:
        found = (event for event in self._rows.of_run(run_id) if event.sequence > after)
        return sorted(found, key=lambda event: event.sequence)[:limit]

    def dead(self, limit: int, event_type: str | None = None) -> Sequence[OutboxRecord]:
        found = self._rows.where(lambda event: event.dlq_at is not None and event_type in {None, event.event_type})
        return sorted(found, key=lambda event: (event.occurred_at, event.workflow_run_id, event.sequence))[:limit]

    def redrive(self, event_ids: Iterable[str]) -> int:
        dead = [event_id for event_id in event_ids if (event := self._rows.find(event_id)) and event.dlq_at]
        for event_id in dead:
            self._rows.update(event_id, {"dlq_at": None, "retry_count": 0, "next_attempt_at": None})
        return len(dead)

    def backlog(self) -> tuple[int, datetime | None]:
        times = [event.occurred_at for event in self._rows.where(_is_open)]
        return len(times), min(times, default=None)

    def delivered(self, event_id: str) -> frozenset[str]:
        return self._tables.delivered.get(event_id, frozenset())

    def mark_delivered(self, event_id: str, names: Iterable[str]) -> None:
        self._tables.set_delivered(event_id, self.delivered(event_id) | frozenset(names))

    def _open(self, run_id: str) -> list[OutboxRecord]:
        found = (event for event in self._rows.of_run(run_id) if _is_open(event))
        return sorted(found, key=lambda event: event.sequence)

    def _is_held(self, event_id: str, token: str) -> bool:
        event = self._rows.find(event_id)
        return event is not None and event.claim_token == token and _is_open(event)


def _is_open(event: OutboxRecord) -> bool:
    return event.published_at is None and event.dlq_at is None


def _may_be_claimed(event: OutboxRecord, now: datetime) -> bool:
    is_due = event.next_attempt_at is None or event.next_attempt_at <= now
    return is_due and not _is_claimed(event, now)


def _is_claimed(event: OutboxRecord, now: datetime) -> bool:
    return event.claimed_until is not None and event.claimed_until > now
