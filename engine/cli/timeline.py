"""Computes the parts of a stage's duration from its events."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from engine.domain.records import OutboxRecord

type Phase = Literal["queued", "running", "suspended", "ended"]


@dataclass(frozen=True, slots=True)
class Mark:
    """From `at` on the stage was in `phase`."""

    at: datetime
    phase: Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Seconds."""

    queued: float = 0.0
    running: float = 0.0
    suspended: float = 0.0

    @property
    def total(self) -> float:
        return self.queued + self.running + self.suspended


def mark_of(event: OutboxRecord) -> Mark | None:
    """The phase that the event starts; None if it starts none."""
    at = datetime.fromisoformat(event.payload["timestamp"])
    match event.event_type:
        case "stage:started":
            return Mark(at, "running")
        case "stage:suspended":
            return Mark(at, "suspended")
        case "stage:failed":
            return Mark(at, "queued" if event.payload["will_retry"] else "ended")
        case "stage:completed":
            return Mark(at, "ended")
        case _:
            return None


def split(queued_at: datetime, marks: Iterable[Mark], until: datetime) -> Split:
    """The time from `queued_at` until the stage's end, or `until`."""
    spans = dict.fromkeys(("queued", "running", "suspended", "ended"), 0.0)
    ordered: Sequence[Mark] = [Mark(queued_at, "queued"), *marks]
    ends = [*(mark.at for mark in ordered[1:]), until]
    for mark, end in zip(ordered, ends, strict=True):
        spans[mark.phase] += max(0.0, (end - mark.at).total_seconds())
    return Split(queued=spans["queued"], running=spans["running"], suspended=spans["suspended"])
