from collections.abc import Sequence
from typing import Any

import pytest

from engine.domain.lifecycle import Status
from engine.domain.records import JobRecord
from engine.ports.persistence import Persistence
from engine.ports.transaction import LeaseState
from engine.testing.clock import FakeClock
from engine.testing.contracts.reading import job_of
from engine.testing.contracts.rows import a_job, at
from engine.testing.contracts.store import StoreContract

RUNNING: dict[str, Any] = {"status": Status.RUNNING, "lease_token": "t", "lease_until": at(10), "worker_id": "w"}


def ids(jobs: Sequence[JobRecord]) -> list[str]:
    return [job.stage_id for job in jobs]


def insert(store: Persistence, *jobs: JobRecord) -> None:
    store.transact(lambda tx: tx.jobs.insert(jobs))


class JobsContract(StoreContract):
    def test_every_column_of_a_job_comes_back(self, store: Persistence) -> None:
        job = a_job(priority=9, attempt=2, max_attempts=7, last_error="e", trace_context="00-1-2-03", **RUNNING)
        insert(store, job)
        assert job_of(store) == job

    def test_an_update_of_a_job_touches_only_what_it_names(self, store: Persistence, clock: FakeClock) -> None:
        insert(store, a_job(last_error="before"))
        clock.advance(3)
        updated = store.transact(lambda tx: tx.jobs.update("r.a.job", {"attempt": 1}))
        assert updated == job_of(store) == a_job(last_error="before", attempt=1, updated_at=at(3))

    def test_jobs_of_a_run_come_oldest_first(self, store: Persistence) -> None:
        insert(store, a_job("b", created_at=at(2)), a_job("a", created_at=at(3)), a_job("c"))
        assert ids(store.read(lambda tx: tx.jobs.of_run("r"))) == ["c", "b", "a"]

    def test_due_jobs_come_most_urgent_first_then_earliest(self, store: Persistence, clock: FakeClock) -> None:
        insert(
            store,
            a_job("late", due_at=at(2)),
            a_job("early", due_at=at(1)),
            a_job("urgent", due_at=at(3), priority=9),
            a_job("not yet", due_at=at(3.001), priority=9),
            a_job("elsewhere", pool="gpu"),
            a_job("other pool", pool="other", priority=6),
            a_job("taken", **RUNNING),
        )
        clock.advance(3)
        pools = ("default", "other")
        assert ids(store.read(lambda tx: tx.jobs.due(pools, 9))) == ["urgent", "other pool", "early", "late"]
        assert ids(store.read(lambda tx: tx.jobs.due(pools, 2))) == ["urgent", "other pool"]
        assert ids(store.read(lambda tx: tx.jobs.due((), 9))) == []

    def test_a_lease_is_renewed_by_its_holder(self, store: Persistence, clock: FakeClock) -> None:
        insert(store, a_job(**RUNNING))
        clock.advance(5)
        assert store.transact(lambda tx: tx.jobs.renew("r.a.job", "t", 30)) is LeaseState.HELD
        assert job_of(store).lease_until == at(35)

    def test_a_lease_that_ran_out_but_was_not_taken_is_still_held(self, store: Persistence, clock: FakeClock) -> None:
        insert(store, a_job(**RUNNING))
        clock.advance(11)
        assert store.transact(lambda tx: tx.jobs.renew("r.a.job", "t", 30)) is LeaseState.HELD

    @pytest.mark.parametrize(
        "columns",
        [{**RUNNING, "lease_token": "another"}, {**RUNNING, "status": Status.PENDING}, {"status": Status.COMPLETED}],
    )
    def test_a_lease_of_another_is_lost(self, store: Persistence, columns: dict[str, Any]) -> None:
        insert(store, a_job(**columns))
        before = job_of(store)
        assert store.transact(lambda tx: tx.jobs.renew("r.a.job", "t", 30)) is LeaseState.LOST
        assert store.transact(lambda tx: tx.jobs.renew("unknown", "t", 30)) is LeaseState.LOST
        assert job_of(store) == before

    @pytest.mark.parametrize("change", [{"status": Status.CANCELLED}, {"failure_code": "BROKEN"}])
    def test_a_holder_learns_that_its_run_no_longer_wants_it(self, store: Persistence, change: dict[str, Any]) -> None:
        insert(store, a_job(**RUNNING))
        store.transact(lambda tx: tx.runs.update("r", change))
        assert store.transact(lambda tx: tx.jobs.renew("r.a.job", "t", 30)) is LeaseState.CANCELLED
        assert job_of(store).lease_until == at(10)

    def test_expired_are_running_jobs_whose_lease_ran_out(self, store: Persistence, clock: FakeClock) -> None:
        insert(
            store,
            a_job("at ten", **RUNNING),
            a_job("at eight", **{**RUNNING, "lease_until": at(8)}),
            a_job("at eleven", **{**RUNNING, "lease_until": at(11)}),
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
            a_job("mine", **RUNNING),
            a_job("done", **{**RUNNING, "status": Status.COMPLETED}),
            a_job("theirs", **{**RUNNING, "worker_id": "x"}),
        )
        assert ids(store.read(lambda tx: tx.jobs.held_by(["w", "nobody"]))) == ["mine"]
        assert ids(store.read(lambda tx: tx.jobs.held_by([]))) == []

    def test_waiting_jobs_are_all_that_are_not_terminal(self, store: Persistence) -> None:
        for created, status in enumerate(Status):
            insert(store, a_job(status, status=status, created_at=at(-created)))
        assert ids(store.read(lambda tx: tx.jobs.waiting(9))) == ["SUSPENDED", "RUNNING", "PENDING"]
        assert ids(store.read(lambda tx: tx.jobs.waiting(1))) == ["SUSPENDED"]
