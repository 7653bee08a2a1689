from datetime import timedelta

import pytest

from engine import NotReady, Ready
from engine.domain.errors import InvalidInput
from engine.domain.lifecycle import JobStatus, RunStatus
from engine.kernel import LeaseReapStale, RunReapStuck, RunReconcile
from engine.kernel.host_commands import LeaseRelease
from engine.ports.changes import JobUpdate, RunUpdate
from engine.ports.persistence import NoClaim
from engine.transitions.facts import Ghost
from tests.kernel.bench import Bench
from tests.kernel.ports import Meanwhile
from tests.kernel.stores import MakeBench
from tests.kernel.workflows import ONCE, batch_stage, boom, pipeline, stage


def reconcile(bench: Bench, run_id: str) -> object:
    return bench.dispatch(RunReconcile(workflow_run_id=run_id))


@pytest.mark.parametrize(("waited", "released"), [(299, 0), (300, 1)])
def test_a_lease_is_released_when_it_has_run_out(make_bench: MakeBench, waited: int, released: int) -> None:
    bench = make_bench(pipeline(stage()))
    run_id = bench.create()
    bench.start()
    bench.clock.advance(waited)
    assert bench.dispatch(LeaseReapStale()).released == released
    assert bench.job(run_id).status is (JobStatus.PENDING if released else JobStatus.RUNNING)
    assert bench.statuses(run_id) == {"a": "PENDING" if released else "RUNNING"}


def test_a_lease_released_twice_counts_once(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage()))
    bench.create()
    bench.start()
    bench.clock.advance(301)
    assert [bench.dispatch(LeaseReapStale()).released for _ in range(2)] == [1, 0]
    assert bench.start().claim.job.attempt == 2


def test_a_longer_threshold_waits_longer(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage()))
    bench.create()
    bench.start()
    bench.clock.advance(599)
    assert bench.dispatch(LeaseReapStale(stale_threshold=600)).released == 0
    bench.clock.advance(1)
    assert bench.dispatch(LeaseReapStale(stale_threshold=600)).released == 1


def test_a_notification_takes_over_an_expired_lease_at_once(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage(body=lambda ctx: ctx.attempt)))
    run_id = bench.create()
    dead = bench.start()
    bench.clock.advance(300)
    assert bench.deliver(bench.job(run_id)).outcome == "completed"
    assert bench.output(run_id) == 2
    assert isinstance(bench.finish(dead).outcome, Ghost)


def test_a_job_that_is_held_is_not_claimed_again(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage()))
    run_id = bench.create()
    bench.start()
    bench.clock.advance(299)
    assert bench.try_start() == NoClaim()
    assert bench.try_start(job_id=bench.job(run_id).id) == NoClaim(later_at=bench.job(run_id).lease_until)


@pytest.mark.failure(95)
def test_a_threshold_below_the_length_of_a_lease_is_refused(make_bench: MakeBench) -> None:
    with pytest.raises(InvalidInput, match=r"stale_threshold.*300"):
        make_bench(pipeline(stage())).kernel.dispatch({"type": "lease.reapStale", "stale_threshold": 60})


@pytest.mark.parametrize("seconds", [1e300, float("inf"), float("nan")])
@pytest.mark.parametrize("threshold", ["lease.reapStale stale_threshold", "run.reapStuck stuck_threshold"])
def test_a_threshold_beyond_the_calendar_is_refused(make_bench: MakeBench, threshold: str, seconds: float) -> None:
    command, field = threshold.split()
    with pytest.raises(InvalidInput, match=field):
        make_bench(pipeline(stage())).kernel.dispatch({"type": command, field: seconds})


def test_leases_of_dead_workers_are_released_at_once_and_counted(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline([stage(), stage("b")]))
    run_id = bench.create()
    bench.start(worker="dead")
    alive = bench.start(worker="alive")
    assert bench.dispatch(LeaseRelease(worker_ids=("dead",))) == 1
    assert bench.dispatch(LeaseRelease(worker_ids=())) == 0
    assert sorted(job.status for job in bench.reads.run(run_id).jobs) == ["PENDING", "RUNNING"]
    assert not isinstance(bench.finish(alive).outcome, Ghost)
    assert bench.start().claim.job.attempt == 2


def test_reconciling_repairs_whatever_a_dead_worker_left(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage()))
    run_id = bench.create("w", 1)
    bench.start()
    bench.clock.advance(301)
    reconcile(bench, run_id)
    assert bench.job(run_id).status is JobStatus.PENDING
    assert bench.events.types() == ["workflow:created", "workflow:started", "stage:started"]
    assert bench.run_to_completion(run_id).run.status is RunStatus.COMPLETED


def test_reconciling_starts_a_pending_run(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage()))
    run_id = bench.create_pending()
    reconcile(bench, run_id)
    assert bench.run_of(run_id).status is RunStatus.RUNNING


def test_reconciling_polls_what_is_due(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(batch_stage(lambda _s, _c: Ready(1))))
    run_id = bench.create()
    bench.work()
    bench.clock.advance(60)
    reconcile(bench, run_id)
    assert bench.run_of(run_id).status is RunStatus.COMPLETED


def test_reconciling_notifies_of_jobs_that_are_due(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage()))
    run_id = bench.create()
    seen = bench.queue.notification_count
    reconcile(bench, run_id)
    assert bench.queue.notification_count == seen + 1


@pytest.mark.parametrize("what", ["lease", "retry", "poll", "pending", "queued", "ended", "unknown"])
def test_reconciling_returns_the_next_due_time_of_the_run(make_bench: MakeBench, what: str) -> None:
    first = batch_stage(lambda _s, _c: NotReady()) if what == "poll" else stage(body=boom)
    bench = make_bench(pipeline(first))
    run_id = bench.create_pending() if what == "pending" else bench.create()
    match what:
        case "lease":
            bench.start()
        case "retry" | "poll":
            bench.work()
        case "ended":
            bench.run_to_completion(run_id)
        case "unknown":
            run_id = "nobody"
        case _:
            pass
    result = bench.dispatch(RunReconcile(workflow_run_id=run_id))
    now = bench.clock.now()
    expected = {"lease": 300.0, "poll": 60.0, "pending": 0.0, "queued": 0.0}
    if what == "retry":
        assert result.next_due is not None
        assert timedelta(seconds=2) <= result.next_due - now <= timedelta(seconds=2.2)
    else:
        assert result.next_due == (now + timedelta(seconds=expected[what]) if what in expected else None)


def test_a_delivery_without_a_job_repairs_its_run_first(make_bench: MakeBench) -> None:
    """The notification belonged to a worker that died at a later stage."""
    bench = make_bench(pipeline(stage(), stage("b")))
    run_id = bench.create("w", 1)
    bench.work()
    bench.start()
    bench.clock.advance(301)
    assert bench.deliver(bench.job(run_id, "a")).outcome == "ghost"
    assert bench.job(run_id, "b").status is JobStatus.PENDING
    assert bench.events.types() == bench.told(run_id)


def test_a_ghost_repairs_nothing_twice(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage()))
    run = bench.run("w").run
    job = bench.job(run.id)
    before = bench.reads.run(run.id)
    assert [bench.deliver(job).outcome for _ in range(3)] == ["ghost"] * 3
    assert bench.reads.run(run.id) == before


def test_a_run_with_nothing_that_could_go_on_is_failed_with_its_stages(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage()))
    run_id = bench.create()
    attempt = bench.start()
    bench.force(JobUpdate(ids=(attempt.claim.job.id,), set={"status": JobStatus.FAILED, "lease_until": None}))
    bench.clock.advance(901)
    assert bench.dispatch(RunReapStuck()).failed == 1
    assert bench.dispatch(RunReapStuck()).failed == 0
    run = bench.run_of(run_id)
    assert (run.status, run.failure_code) == (RunStatus.FAILED, "STUCK_RUN_REAPED")
    assert "a RUNNING" in (run.failure_message or "")
    assert bench.statuses(run_id) == {"a": "CANCELLED"}


def test_a_run_that_changes_while_it_is_reaped_is_not_failed(make_bench: MakeBench) -> None:
    good = make_bench(pipeline(stage()))
    changing = Meanwhile(good.persistence)
    bench = make_bench(pipeline(stage()), persistence=changing)
    run_id = good.create()
    attempt = good.start()
    good.force(JobUpdate(ids=(attempt.claim.job.id,), set={"status": JobStatus.FAILED, "lease_until": None}))
    good.clock.advance(901)
    changing.do = lambda: good.force(RunUpdate(ids=(run_id,), add={"version": 1}))
    assert bench.dispatch(RunReapStuck()).failed == 0
    assert bench.run_of(run_id).status is RunStatus.RUNNING
    good.clock.advance(901)
    assert bench.dispatch(RunReapStuck()).failed == 1


def test_a_run_that_was_active_is_not_looked_at(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage()))
    run_id = bench.create()
    bench.queue.cancel_by_run(run_id)
    bench.clock.advance(899)
    result = bench.dispatch(RunReapStuck())
    assert (result.transitioned, result.failed, result.recovered) == (0, 0, 0)


def test_jobs_of_a_failed_run_are_not_claimed(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline([stage("a", boom, retry=ONCE), stage("b")]))
    run_id = bench.create()
    bench.finish(bench.start(job_id=bench.job(run_id, "a").id))
    assert bench.host.process_available_jobs().processed == 0
