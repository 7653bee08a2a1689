import threading
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from engine.adapters.local.job_queue import JobQueue
from engine.domain.errors import NotFound, StoreError
from engine.domain.lifecycle import JobStatus, StageStatus
from engine.domain.records import JobRecord
from engine.ports.job_transport import JobNotification
from engine.ports.persistence import Persistence
from engine.testing.clock import FakeClock
from engine.testing.contracts.changes import applied, begun, cancels, insert
from engine.testing.contracts.reading import job_of, stage_of
from engine.testing.contracts.rows import a_job, a_run, a_stage, at
from engine.testing.contracts.threads import together

NOTIFICATION = JobNotification(job_id="r.a.job", workflow_run_id="r", workflow_id="w", stage_id="a", pool="default")
SOON = 30.0


class JobQueueContract:
    """The contract of the job queue. A subclass provides the fixtures `persistence`, on `clock`, and `queue`."""

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def persistence(self) -> Persistence:
        raise NotImplementedError("give a fixture `persistence` that takes `clock`")

    @pytest.fixture
    def queue(self) -> JobQueue:
        raise NotImplementedError("give a fixture `queue` that takes `persistence`")

    @pytest.fixture
    def taken(self, persistence: Persistence, queue: JobQueue) -> JobRecord:
        """The job of the only stage of run "r", dequeued."""
        applied(persistence, begun("a"))
        job = queue.dequeue(worker_id="w", lease_seconds=60)
        assert job is not None
        return job

    def test_jobs_enqueued_together_are_dequeued_one_by_one(self, persistence: Persistence, queue: JobQueue) -> None:
        insert(persistence, a_run(), a_stage("a"), a_stage("b"))
        assert queue.enqueue_parallel([a_job("a"), a_job("b", priority=9)]) == ("r.a.job", "r.b.job")
        order = [job and job.stage_id for job in (queue.dequeue(), queue.dequeue(), queue.dequeue())]
        assert order == ["b", "a", None]
        assert stage_of(persistence).status is StageStatus.RUNNING

    def test_of_jobs_enqueued_together_all_are_there_or_none(self, persistence: Persistence, queue: JobQueue) -> None:
        insert(persistence, a_run(), a_stage("a"), a_job("b"))
        with pytest.raises(StoreError):
            queue.enqueue_parallel([a_job("a"), a_job("b")])
        assert [job.stage_id for job in queue.get_jobs_by_workflow_run("r")] == ["b"]
        with pytest.raises(StoreError):
            queue.enqueue_parallel([a_job("b", run_id="unknown")])

    def test_a_job_is_dequeued_from_its_pool(self, persistence: Persistence, queue: JobQueue) -> None:
        applied(persistence, begun("a"))
        assert queue.dequeue(pools=["gpu"]) is None
        assert queue.dequeue(pools=["gpu", "default"]) is not None

    def test_each_job_is_dequeued_once_by_threads_that_race(self, persistence: Persistence, queue: JobQueue) -> None:
        applied(persistence, begun("a", "b", "c"))
        jobs = [job.stage_id for job in together([queue.dequeue] * 8) if job is not None]
        assert sorted(jobs) == ["a", "b", "c"]

    def test_a_job_is_completed_once(self, persistence: Persistence, queue: JobQueue, taken: JobRecord) -> None:
        assert not queue.complete(taken.id, lease_token="another")
        assert queue.complete(taken.id, lease_token=taken.lease_token)
        assert not queue.complete(taken.id)
        assert not queue.fail(taken.id, "late")
        assert not queue.suspend(taken.id)
        job = job_of(persistence)
        assert (job.status, job.lease_until, job.lease_token) == (JobStatus.COMPLETED, None, taken.lease_token)

    def test_a_job_is_suspended(self, persistence: Persistence, queue: JobQueue, taken: JobRecord) -> None:
        assert queue.suspend(taken.id)
        assert job_of(persistence).status is JobStatus.SUSPENDED
        assert queue.dequeue() is None

    def test_a_failed_job_is_not_tried_again_unless_asked(
        self, persistence: Persistence, queue: JobQueue, taken: JobRecord
    ) -> None:
        assert queue.fail(taken.id, "broke")
        assert (job_of(persistence).status, job_of(persistence).last_error) == (JobStatus.FAILED, "broke")

    def test_waits_between_tries_grow_until_attempts_are_spent(
        self, persistence: Persistence, queue: JobQueue, clock: FakeClock, taken: JobRecord
    ) -> None:
        for wait in (2, 4):
            assert queue.fail(taken.id, "broke", retry=True)
            job = job_of(persistence)
            assert (job.status, job.due_at) == (JobStatus.PENDING, clock.now() + timedelta(seconds=wait))
            assert job.rank == job.due_at - timedelta(minutes=job.priority)
            clock.advance(wait - 0.5)
            assert queue.dequeue() is None
            clock.advance(0.5)
            assert queue.dequeue() is not None
        assert queue.fail(taken.id, "broke", retry=True)
        assert (job_of(persistence).status, job_of(persistence).attempt) == (JobStatus.FAILED, 3)

    def test_a_lease_is_touched_by_its_holder(
        self, persistence: Persistence, queue: JobQueue, clock: FakeClock, taken: JobRecord
    ) -> None:
        clock.advance(50)
        assert not queue.touch_job(taken.id, lease_token="another")
        assert queue.touch_job(taken.id, lease_seconds=60)
        assert job_of(persistence).lease_until == at(110)
        applied(persistence, cancels("a"))
        assert not queue.touch_job(taken.id)
        assert job_of(persistence).lease_until == at(110)

    def test_stale_jobs_are_released_until_attempts_are_spent(
        self, persistence: Persistence, queue: JobQueue, clock: FakeClock, taken: JobRecord
    ) -> None:
        clock.advance(59)
        assert queue.release_stale_jobs() == 0
        clock.advance(1)
        assert queue.release_stale_jobs(stale_threshold=1) == 0
        assert queue.release_stale_jobs() == 1
        assert not queue.complete(taken.id)
        for _ in range(2):
            assert queue.dequeue(lease_seconds=60) is not None
            clock.advance(60)
            assert queue.release_stale_jobs() == 1
        assert job_of(persistence).status is JobStatus.FAILED

    def test_open_jobs_of_a_run_are_cancelled(
        self, persistence: Persistence, queue: JobQueue, taken: JobRecord
    ) -> None:
        applied(persistence, begun("a", run_id="s"))
        assert queue.cancel_by_run("r") == 1
        assert queue.cancel_by_run("r") == queue.cancel_by_run("unknown") == 0
        assert not queue.complete(taken.id)
        assert job_of(persistence, "a", "s").status is JobStatus.PENDING
        assert [job.status for job in queue.get_jobs_by_workflow_run("r")] == [JobStatus.CANCELLED]

    def test_an_unknown_job_is_not_found(self, queue: JobQueue) -> None:
        for use in (queue.complete, queue.suspend, queue.touch_job, partial(queue.fail, error="e")):
            with pytest.raises(NotFound):
                use("unknown")

    def test_a_notification_wakes_who_waits(self, queue: JobQueue) -> None:
        wait = partial(queue.wait, SOON, since=queue.notification_count)
        assert together([wait, wait, partial(_notify, queue)]) == [True, True, True]

    def test_a_notification_sent_while_looking_for_work_is_not_missed(self, queue: JobQueue) -> None:
        before = queue.notification_count
        queue.notify([NOTIFICATION])
        assert queue.wait(SOON, since=before)
        assert not queue.wait(0)
        assert not queue.wait(0, since=queue.notification_count)

    def test_a_notification_with_a_delay_notifies_again_when_it_is_over(self, queue: JobQueue) -> None:
        queue.notify([replace(NOTIFICATION, delay=0.02)])
        assert queue.wait(SOON, since=queue.notification_count)

    def test_nothing_is_notified_of_nothing(self, queue: JobQueue) -> None:
        queue.notify([])
        assert not queue.wait(0, since=0)

    def test_listeners_hear_notifications_until_they_are_removed(self, queue: JobQueue) -> None:
        heard: list[str] = []
        called = threading.Event()

        def broken(_: object) -> None:
            called.set()
            raise RuntimeError("a listener's fault")

        queue.add_listener(broken)
        remove = queue.add_listener(lambda sent: heard.extend(each.job_id for each in sent))
        queue.notify([NOTIFICATION])
        remove()
        queue.notify([NOTIFICATION])
        assert (heard, called.is_set()) == (["r.a.job"], True)


def _notify(queue: JobQueue) -> bool:
    queue.notify([NOTIFICATION])
    return True
