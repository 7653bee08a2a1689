from collections.abc import Sequence

from engine.domain.lifecycle import JobStatus
from engine.domain.records import JobRecord
from engine.ports.persistence import Persistence
from engine.testing.clock import FakeClock
from engine.testing.contracts.changes import insert
from engine.testing.contracts.rows import a_job, at, held
from engine.testing.contracts.store import StoreContract


def ids(jobs: Sequence[JobRecord]) -> list[str]:
    return [job.stage_id for job in jobs]


class JobsContract(StoreContract):
    def test_jobs_of_a_run_come_oldest_first(self, store: Persistence) -> None:
        insert(store, a_job("b", created_at=at(2)), a_job("a", created_at=at(3)), a_job("c"))
        assert ids(store.read(lambda tx: tx.jobs.of_run("r"))) == ["c", "b", "a"]

    def test_due_jobs_come_by_rank(self, store: Persistence, clock: FakeClock) -> None:
        insert(
            store,
            a_job("late", due_at=at(2)),
            a_job("early", due_at=at(1)),
            a_job("urgent", due_at=at(3), priority=9),
            a_job("not yet", due_at=at(3.001), priority=9),
            a_job("elsewhere", pool="gpu"),
            a_job("other pool", pool="other", priority=6),
            a_job("same rank b", due_at=at(2.5)),
            a_job("same rank a", due_at=at(2.5)),
            a_job("blocked", status=JobStatus.BLOCKED),
            a_job("taken", **held()),
        )
        clock.advance(3)
        pools = ("default", "other")
        order = ["urgent", "other pool", "early", "late", "same rank a", "same rank b"]
        assert ids(store.read(lambda tx: tx.jobs.due(pools, 9))) == order
        assert ids(store.read(lambda tx: tx.jobs.due(pools, 2))) == order[:2]
        assert ids(store.read(lambda tx: tx.jobs.due((), 9))) == []

    def test_a_job_that_waited_long_goes_before_one_that_is_more_urgent(self, store: Persistence) -> None:
        insert(store, a_job("urgent", priority=7), a_job("old", due_at=at(-121)), a_job("recent", due_at=at(-119)))
        assert ids(store.read(lambda tx: tx.jobs.due(("default",), 9))) == ["old", "urgent", "recent"]

    def test_expired_are_running_jobs_whose_lease_ran_out(self, store: Persistence, clock: FakeClock) -> None:
        insert(
            store,
            a_job("at ten", **held(until=10)),
            a_job("at eight", **held(until=8)),
            a_job("at eleven", **held(until=11)),
            a_job("cancelled", **{**held(until=8), "status": JobStatus.CANCELLED}),
            a_job("queued"),
        )
        clock.advance(10)
        assert ids(store.read(lambda tx: tx.jobs.expired(9))) == ["at eight", "at ten"]
        assert ids(store.read(lambda tx: tx.jobs.expired(1))) == ["at eight"]
        assert ids(store.read(lambda tx: tx.jobs.expired(9, older_than=2))) == ["at eight"]
        assert ids(store.read(lambda tx: tx.jobs.expired(9, older_than=2.5))) == []

    def test_held_jobs_are_found_by_their_workers(self, store: Persistence) -> None:
        insert(
            store,
            a_job("mine", **{**held(), "worker_id": "w"}),
            a_job("done", worker_id="w", status=JobStatus.COMPLETED),
            a_job("theirs", **{**held(), "worker_id": "x"}),
        )
        assert ids(store.read(lambda tx: tx.jobs.held_by(["w", "nobody"]))) == ["mine"]
        assert ids(store.read(lambda tx: tx.jobs.held_by([]))) == []

    def test_waiting_jobs_are_all_that_are_not_terminal(self, store: Persistence) -> None:
        for created, status in enumerate(JobStatus):
            insert(store, a_job(status, status=status, created_at=at(-created)))
        oldest_first = ["SUSPENDED", "RUNNING", "BLOCKED", "PENDING"]
        assert ids(store.read(lambda tx: tx.jobs.waiting(9))) == oldest_first
        assert ids(store.read(lambda tx: tx.jobs.waiting(1))) == oldest_first[:1]
