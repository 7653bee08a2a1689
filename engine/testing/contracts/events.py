"""The events that changes carry: their numbers and times come from the run's row."""

from engine.domain.events import StageStarted
from engine.domain.records import OutboxRecord
from engine.ports.changes import Insert, JobUpdate, RunUpdate
from engine.ports.persistence import Persistence
from engine.testing.contracts.changes import append_events, insert, refused, written
from engine.testing.contracts.reading import events_of, run_of
from engine.testing.contracts.rows import AT, a_run, an_event, at, names
from engine.testing.contracts.store import StoreContract


class EventContract(StoreContract):
    def test_events_of_a_new_run_are_numbered_from_one(self, persistence: Persistence) -> None:
        run = a_run(event_seq=7, last_event_at=at(-5))
        answer = written(persistence, run=Insert(rows=(run,)), events=(an_event(), an_event()), seconds=2)
        assert answer.last_sequence == 2
        assert [(event.sequence, event.occurred_at) for event in events_of(persistence)] == [(1, at(2)), (2, at(2))]
        assert run_of(persistence) == a_run(event_seq=2, last_event_at=at(2))

    def test_a_new_run_without_events_has_none(self, persistence: Persistence) -> None:
        assert written(persistence, run=Insert(rows=(a_run(event_seq=7, last_event_at=AT),))).last_sequence == 0
        assert run_of(persistence) == a_run()

    def test_events_come_back_as_they_will_be_published(self, store: Persistence) -> None:
        event = StageStarted(**names("a"), attempt=2)
        written(store, run=RunUpdate(ids=("r",)), events=(event,), causation_id="cause", seconds=3)
        expected = OutboxRecord(
            id="r.1",
            workflow_run_id="r",
            sequence=1,
            event_type="stage:started",
            payload=event.stored_payload(),
            occurred_at=at(3),
            causation_id="cause",
        )
        assert events_of(store) == [expected]
        assert "timestamp" not in expected.payload

    def test_events_follow_one_another_without_gaps(self, store: Persistence) -> None:
        assert [
            written(store, run=RunUpdate(ids=("r",)), events=(an_event(),) * count).last_sequence
            for count in (1, 3, 0, 2)
        ] == [1, 4, 0, 6]
        events = events_of(store)
        assert [event.sequence for event in events] == [1, 2, 3, 4, 5, 6]
        assert [event.id for event in events] == [f"r.{event.sequence}" for event in events]
        assert run_of(store).event_seq == 6

    def test_a_refusal_takes_no_number(self, store: Persistence) -> None:
        append_events(store, 2)
        lost = RunUpdate(ids=("r",), expect={"failure_code": "X"})
        assert refused(store, run=lost, events=(an_event(),))
        assert refused(store, JobUpdate(ids=("unknown",)), run=RunUpdate(ids=("r",)), events=(an_event(),))
        append_events(store)
        assert [event.sequence for event in events_of(store)] == [1, 2, 3]

    def test_each_run_has_numbers_of_its_own(self, store: Persistence) -> None:
        append_events(store, 2)
        append_events(store, 1, "s")
        assert [event.id for event in (*events_of(store), *events_of(store, "s"))] == ["r.1", "r.2", "s.1"]

    def test_time_never_goes_back_along_the_events_of_a_run(self, store: Persistence) -> None:
        for seconds in (5, 3, 6):
            append_events(store, seconds=seconds)
        assert [event.occurred_at for event in events_of(store)] == [at(5), at(5), at(6)]
        assert (run_of(store).last_event_at, run_of(store).updated_at) == (at(6), at(6))

    def test_a_write_without_events_leaves_the_time_of_the_last(self, store: Persistence) -> None:
        append_events(store, seconds=1)
        written(store, run=RunUpdate(ids=("r",)), seconds=9)
        assert (run_of(store).event_seq, run_of(store).last_event_at) == (1, at(1))

    def test_events_are_counted_beside_other_counters(self, store: Persistence) -> None:
        insert(store, a_run("t", group_open=3))
        written(store, run_id="t", run=RunUpdate(ids=("t",), add={"group_open": -1}), events=(an_event("t"),))
        run = run_of(store, "t")
        assert (run.group_open, run.event_seq) == (2, 1)

    def test_events_are_stamped_beside_other_times(self, store: Persistence) -> None:
        update = RunUpdate(ids=("r",), latest={"completed_at": at(5)})
        written(store, run=update, events=(an_event(),), seconds=3)
        assert (run_of(store).completed_at, run_of(store).last_event_at) == (at(5), at(3))
