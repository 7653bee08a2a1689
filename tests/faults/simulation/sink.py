"""A simulated consumer of events, with two receivers, that throttles, refuses and takes events in part.

A receiver must get a run's events in their order: an event that it sees first may skip only dead letters.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.domain.events import Event
from engine.ports.event_sink import PartiallyDelivered, SinkUnavailable
from tests.faults.simulation.faults import EMIT, Crash, Resume

if TYPE_CHECKING:
    from tests.faults.simulation.world import World

RECEIVERS = ("first", "second")


class SimulatedSink:
    max_retries = 3

    def __init__(self, world: "World") -> None:
        self._world = world
        self._last: dict[tuple[str, str], int] = defaultdict(int)
        self.seen: dict[str, set[int]] = defaultdict(set)
        self.poisoned: set[str] = set()

    def emit(self, event: Event, *, skip: frozenset[str] = frozenset()) -> None:
        how = self._world.pause(EMIT)
        wanted = [name for name in RECEIVERS if name not in skip]
        if how is Resume.REFUSED:
            self.poisoned.add(event.id)
        if how is Resume.UNAVAILABLE:
            raise SinkUnavailable("throttled")
        if event.id in self.poisoned:
            raise ValueError("refused by its receiver")
        if how is Resume.PARTLY and len(wanted) > 1:
            self._deliver(event, wanted[:1])
            raise PartiallyDelivered(frozenset(wanted[:1]), ValueError("refused by the second receiver"))
        self._deliver(event, wanted)
        self._after(how)

    def _after(self, how: Resume) -> None:
        if how is Resume.CRASH_AFTER:
            self._world.die()
            raise Crash
        if how is Resume.LOST:
            raise SinkUnavailable("the answer was lost")

    def _deliver(self, event: Event, receivers: Sequence[str]) -> None:
        for name in receivers:
            self._check_order(event, name)
        self.seen[event.workflow_run_id].add(event.sequence)

    def _check_order(self, event: Event, receiver: str) -> None:
        run_id, last = event.workflow_run_id, self._last[event.workflow_run_id, receiver]
        for sequence in range(last + 1, event.sequence):
            row = self._world.watch.event(run_id, sequence)
            if row.dlq_at is None and row.published_at is None:
                self._world.fail(f"{receiver} got event {event.sequence} of {run_id} before {sequence}")
        self._last[run_id, receiver] = max(last, event.sequence)


class SimulatedBatchingSink(SimulatedSink):
    """Takes several events in one call, often not all of them."""

    def emit_first(self, events: Sequence[Event]) -> int:
        how = self._world.pause(EMIT)
        taken = self._world.choices.below(len(events)) if how is not Resume.GO else 0
        refused = next((index for index, event in enumerate(events) if event.id in self.poisoned), len(events))
        arrived = min(len(events) - taken, refused)
        for event in events[:arrived]:
            self._deliver(event, RECEIVERS)
        if how is Resume.CRASH_AFTER:
            self._world.die()
            raise Crash
        return arrived
