from collections.abc import Sequence
from datetime import datetime

from engine.domain.records import OutboxRecord
from engine.ports.persistence import Persistence
from engine.testing.clock import FakeClock
from engine.testing.contracts.changes import append_events
from engine.testing.contracts.reading import events_of
from engine.testing.contracts.rows import AT, at
from engine.testing.contracts.store import StoreContract


def claim(store: Persistence, token: str = "t", run_id: str = "r", limit: int = 9) -> Sequence[OutboxRecord]:
    return store.transact(lambda tx: tx.outbox.claim(run_id, token=token, seconds=10, limit=limit))


def die(store: Persistence, run_id: str, seconds: float) -> None:
    claim(store, run_id=run_id)
    patch = {"dlq_at": at(seconds)}
    store.transact(lambda tx: tx.outbox.release_claim(run_id, token="t", patch=patch, event_id=f"{run_id}.1"))


def numbers(events: Sequence[OutboxRecord]) -> list[int]:
    return [event.sequence for event in events]


class OutboxContract(StoreContract):
    def test_a_run_s_events_can_be_read_page_by_page(self, store: Persistence) -> None:
        append_events(store, 3)
        assert numbers(events_of(store)) == [1, 2, 3]
        assert numbers(store.read(lambda tx: tx.outbox.of_run("r", after=1, limit=1))) == [2]

    def test_a_claim_holds_the_run_until_it_runs_out(self, store: Persistence, clock: FakeClock) -> None:
        append_events(store, 2)
        taken = claim(store, "one")
        assert taken == events_of(store)
        assert [(event.claim_token, event.claimed_until) for event in taken] == [("one", at(10))] * 2
        append_events(store, 1)
        assert claim(store, "two") == []
        assert store.read(lambda tx: tx.outbox.ready(9)) == []
        clock.advance(10)
        assert numbers(claim(store, "two")) == [1, 2, 3]

    def test_an_event_redriven_before_claimed_ones_waits_for_them(self, store: Persistence, clock: FakeClock) -> None:
        append_events(store, 3)
        die(store, "r", 1)
        assert numbers(claim(store, "one")) == [2, 3]
        store.transact(lambda tx: tx.outbox.redrive(["r.1"]))
        assert claim(store, "two") == []
        clock.advance(10)
        assert numbers(claim(store, "two")) == [1, 2, 3]

    def test_the_end_of_a_claim_is_known_while_it_lasts(self, store: Persistence, clock: FakeClock) -> None:
        def end() -> datetime | None:
            return store.read(lambda tx: tx.outbox.claimed_until("r"))

        append_events(store, 2)
        assert end() is None
        claim(store, limit=1)
        assert end() == at(10)
        store.transact(lambda tx: tx.outbox.published(["r.1"], token="t", at=AT))
        assert end() is None
        claim(store)
        clock.advance(10)
        assert end() is None

    def test_a_claim_is_bounded(self, store: Persistence) -> None:
        append_events(store, 3)
        assert numbers(claim(store, limit=2)) == [1, 2]
        assert claim(store, "another") == []

    def test_runs_are_ready_oldest_event_first(self, store: Persistence) -> None:
        append_events(store, 2, "r", seconds=5)
        append_events(store, 1, "s", seconds=1)
        assert store.read(lambda tx: tx.outbox.ready(9)) == ["s", "r"]
        assert store.read(lambda tx: tx.outbox.ready(1)) == ["s"]

    def test_only_the_holder_of_the_claim_publishes(self, store: Persistence, clock: FakeClock) -> None:
        append_events(store, 3)
        claim(store, "one", limit=2)
        clock.advance(10)
        claim(store, "two", limit=1)
        everything = ["r.1", "r.2", "r.3", "unknown"]
        assert store.transact(lambda tx: tx.outbox.published(everything, token="two", at=at(11))) == 1
        assert store.transact(lambda tx: tx.outbox.published(everything, token="two", at=at(12))) == 0
        assert [event.published_at for event in events_of(store)] == [at(11), None, None]
        assert numbers(claim(store, "three")) == [2, 3]

    def test_a_failed_event_holds_back_the_rest_until_it_is_due(self, store: Persistence, clock: FakeClock) -> None:
        append_events(store, 3)
        claim(store)
        store.transact(lambda tx: tx.outbox.published(["r.1"], token="t", at=AT))
        patch = {"retry_count": 1, "next_attempt_at": at(5), "last_error": "refused"}
        store.transact(lambda tx: tx.outbox.release_claim("r", token="t", patch=patch, event_id="r.2"))
        held = events_of(store)[1]
        assert (held.retry_count, held.next_attempt_at, held.last_error) == (1, at(5), "refused")
        assert (held.claim_token, held.claimed_until) == (None, None)
        assert claim(store) == []
        assert store.read(lambda tx: tx.outbox.ready(9)) == []
        clock.advance(5)
        assert store.read(lambda tx: tx.outbox.ready(9)) == ["r"]
        assert numbers(claim(store)) == [2, 3]

    def test_a_claim_can_be_ended_by_its_holder_only(self, store: Persistence) -> None:
        append_events(store, 1)
        claim(store, "one")
        patch = {"retry_count": 9}
        store.transact(lambda tx: tx.outbox.release_claim("r", token="two", patch=patch, event_id="r.1"))
        assert claim(store, "two") == []
        store.transact(lambda tx: tx.outbox.release_claim("r", token="one"))
        (event,) = claim(store, "two")
        assert event.retry_count == 0

    def test_later_events_flow_once_an_event_is_dead(self, store: Persistence) -> None:
        append_events(store, 2)
        claim(store)
        patch = {"dlq_at": at(1), "retry_count": 3}
        store.transact(lambda tx: tx.outbox.release_claim("r", token="t", patch=patch, event_id="r.1"))
        assert numbers(claim(store)) == [2]
        assert numbers(store.read(lambda tx: tx.outbox.dead(9))) == [1]
        assert numbers(store.read(lambda tx: tx.outbox.dead(9, "workflow:failed"))) == []

    def test_a_redriven_event_is_as_good_as_new(self, store: Persistence) -> None:
        append_events(store, 2)
        claim(store)
        patch = {"dlq_at": at(1), "retry_count": 3, "next_attempt_at": at(99)}
        store.transact(lambda tx: tx.outbox.release_claim("r", token="t", patch=patch, event_id="r.1"))
        assert store.transact(lambda tx: tx.outbox.redrive(["r.1", "r.2", "unknown"])) == 1
        assert store.read(lambda tx: tx.outbox.dead(9)) == []
        first, second = claim(store)
        assert (first.sequence, first.retry_count, first.dlq_at, second.sequence) == (1, 0, None, 2)

    def test_dead_events_come_oldest_first(self, store: Persistence) -> None:
        append_events(store, 1, "r", seconds=5)
        append_events(store, 1, "s", seconds=1)
        die(store, "r", 1)
        die(store, "s", 2)
        assert [event.workflow_run_id for event in store.read(lambda tx: tx.outbox.dead(9))] == ["s", "r"]
        assert len(store.read(lambda tx: tx.outbox.dead(1))) == 1

    def test_the_backlog_is_what_is_open(self, store: Persistence) -> None:
        assert store.read(lambda tx: tx.outbox.backlog()) == (0, None)
        append_events(store, 2, seconds=4)
        append_events(store, 1, "s", seconds=2)
        assert store.read(lambda tx: tx.outbox.backlog()) == (3, at(2))
        claim(store, run_id="s")
        store.transact(lambda tx: tx.outbox.published(["s.1"], token="t", at=AT))
        assert store.read(lambda tx: tx.outbox.backlog()) == (2, at(4))

    def test_deliveries_are_remembered(self, store: Persistence) -> None:
        append_events(store, 1)
        assert store.read(lambda tx: tx.outbox.delivered("r.1")) == frozenset()
        store.transact(lambda tx: tx.outbox.mark_delivered("r.1", ["a"]))
        store.transact(lambda tx: tx.outbox.mark_delivered("r.1", ["b", "a"]))
        assert store.read(lambda tx: tx.outbox.delivered("r.1")) == {"a", "b"}
