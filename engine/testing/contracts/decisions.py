"""Decisions: a run is locked and read, and what is decided about it is written or not."""

from concurrent.futures import Future, ThreadPoolExecutor, wait

import pytest

from engine.ports.changes import Changes, JobUpdate, Reason, Refused, RunUpdate, StageUpdate, Written
from engine.ports.persistence import LockedRun, Persistence
from engine.testing.clock import FakeClock
from engine.testing.contracts.changes import append_events, changes, insert
from engine.testing.contracts.reading import events_of, everything, run_of
from engine.testing.contracts.rows import a_job, a_run, a_stage, an_event, at
from engine.testing.contracts.store import StoreContract

both_ways = pytest.mark.parametrize("whole", [False, True])
"""Asking for the whole run along is a matter of round trips and changes nothing else."""


class DecisionContract(StoreContract):
    @both_ways
    def test_a_decision_sees_the_run_the_job_asked_for_and_its_stage(self, store: Persistence, whole: bool) -> None:
        insert(store, a_stage("a"), a_stage("b"), a_job("a"), a_job("b"))

        def decide(locked: LockedRun) -> Changes | Refused:
            assert (locked.run, locked.stage, locked.job) == (a_run(), a_stage("b"), a_job("b"))
            return Refused()

        assert store.decide("r", decide, job_id="r.b.job", whole=whole) == Refused()

    def test_a_decision_that_asks_for_no_job_sees_none(self, store: Persistence) -> None:
        insert(store, a_stage(), a_job())

        def decide(locked: LockedRun) -> Changes | Refused:
            assert (locked.run, locked.stage, locked.job) == (a_run(), None, None)
            return Refused()

        assert store.decide("r", decide) == Refused()

    def test_a_decision_sees_what_is_there(self, store: Persistence) -> None:
        insert(store, a_job("a"))

        def decide(locked: LockedRun) -> Changes | Refused:
            assert (locked.run, locked.stage, locked.job) == (a_run(), None, a_job("a"))
            assert list(locked.stages()) == []
            return Refused(Reason.NOTHING)

        assert store.decide("r", decide, job_id="r.a.job") == Refused(Reason.NOTHING)

    @both_ways
    def test_a_decision_about_an_unknown_run_sees_none(self, store: Persistence, whole: bool) -> None:
        def decide(locked: LockedRun) -> Changes | Refused:
            assert (locked.run, locked.stage, locked.job) == (None, None, None)
            assert (list(locked.stages()), list(locked.jobs())) == ([], [])
            return Refused(Reason.GHOST)

        assert store.decide("unknown", decide, job_id="unknown", whole=whole) == Refused(Reason.GHOST)

    @both_ways
    def test_a_decision_reads_the_whole_run_in_order(self, store: Persistence, whole: bool) -> None:
        late, early = a_stage("a", execution_group=2), a_stage("b", stage_number=2)
        insert(store, late, early, a_job("a", created_at=at(2)), a_job("b", created_at=at(1)))
        insert(store, a_stage("a", "s"), a_job("a", "s"))

        def decide(locked: LockedRun) -> Changes | Refused:
            assert list(locked.stages()) == [early, late]
            assert [job.stage_id for job in locked.jobs()] == ["b", "a"]
            assert locked.tx.runs.find("s") == a_run("s")
            return Refused()

        assert store.decide("r", decide, whole=whole) == Refused()

    def test_a_decision_is_written(self, store: Persistence, clock: FakeClock) -> None:
        insert(store, a_stage())
        clock.advance(5)
        broken = StageUpdate(ids=("r.a",), set={"error_code": "E"})
        wanted = changes(broken, seconds=1, run=RunUpdate(ids=("r",), set={"group_no": 3}), events=(an_event(),))
        assert store.decide("r", lambda _: wanted) == Written(changes=wanted, now=at(5), last_sequence=1)
        assert run_of(store) == a_run(group_no=3, event_seq=1, last_event_at=at(1), updated_at=at(1))
        assert store.read(lambda tx: tx.stages.get("r.a")).error_code == "E"
        assert [event.sequence for event in events_of(store)] == [1]

    @pytest.mark.parametrize("reason", [None, *Reason])
    def test_a_refusal_writes_nothing_and_keeps_its_reason(self, store: Persistence, reason: Reason | None) -> None:
        append_events(store)
        before = everything(store, "r")
        assert store.decide("r", lambda _: Refused(reason)) == Refused(reason)
        assert everything(store, "r") == before

    def test_a_decision_whose_conditions_do_not_hold_is_refused(self, store: Persistence) -> None:
        before = everything(store, "r")
        wanted = changes(JobUpdate(ids=("unknown",)), run=RunUpdate(ids=("r",)), events=(an_event(),))
        assert store.decide("r", lambda _: wanted) == Refused(reason=None)
        assert everything(store, "r") == before

    def test_a_decision_that_raises_writes_nothing(self, store: Persistence) -> None:
        before = everything(store, "r")

        def decide(_: LockedRun) -> Changes | Refused:
            raise KeyError("no")

        with pytest.raises(KeyError, match="no"):
            store.decide("r", decide)
        assert everything(store, "r") == before
        append_events(store)
        assert run_of(store).event_seq == 1

    def test_nobody_else_writes_the_run_while_it_is_decided_about(self, store: Persistence) -> None:
        others: list[Future[Written | Refused]] = []

        def decide(_: LockedRun) -> Changes | Refused:
            others.append(pool.submit(store.write, changes(run=RunUpdate(ids=("r",), set={"group_no": 2}))))
            wait(others, timeout=0.2)
            assert not others[0].done()
            return changes(run=RunUpdate(ids=("r",), set={"group_no": 1}))

        with ThreadPoolExecutor(1) as pool:
            assert isinstance(store.decide("r", decide), Written)
            assert isinstance(others[0].result(), Written)
        assert run_of(store).group_no == 2

    def test_a_decision_knows_the_time_of_the_store(self, store: Persistence, clock: FakeClock) -> None:
        clock.advance(7)

        def decide(locked: LockedRun) -> Changes | Refused:
            assert locked.tx.now() == at(7)
            return Refused()

        assert store.decide("r", decide) == Refused()
