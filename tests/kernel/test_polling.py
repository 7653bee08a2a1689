from datetime import timedelta
from typing import Any

import pytest

from engine import BatchFailed, NotReady, Ready, Suspended
from engine.domain.lifecycle import JobStatus, RunStatus, StageStatus
from engine.kernel import RunCancel, StagePollSuspended
from engine.testing import InMemoryBlobStore
from tests.kernel.bench import Bench
from tests.kernel.stores import MakeBench, in_memory
from tests.kernel.workflows import batch_stage, pipeline, stage


def suspend(bench: Bench, *, wait: float = 60) -> str:
    run_id = bench.create("w", "in")
    bench.work()
    bench.clock.advance(wait)
    return run_id


def poll(bench: Bench, **fields: Any) -> Any:
    return bench.dispatch(StagePollSuspended(**fields))


def test_a_suspension_is_stored_published_and_scheduled(make_bench: MakeBench) -> None:
    waits = batch_stage(
        lambda _s, _c: NotReady(),
        body=lambda _ctx: Suspended("b7", poll_interval=60, max_wait=600, metadata={"m": 1}),
    )
    bench = make_bench(pipeline(waits))
    run_id = suspend(bench, wait=0)
    waiting, now = bench.stage(run_id), bench.clock.now()
    assert (waiting.status, bench.job(run_id).status) == (StageStatus.SUSPENDED, JobStatus.SUSPENDED)
    assert (waiting.next_poll_at, waiting.poll_interval_s) == (now + timedelta(seconds=60), 60)
    assert waiting.max_wait_until == now + timedelta(seconds=600)
    assert (waiting.suspended_state or {})["batch_id"] == "b7"
    assert bench.told(run_id)[-2:] == ["stage:suspended", "workflow:suspended"]
    assert bench.last_event(run_id, "stage:suspended").next_poll_at == waiting.next_poll_at
    bench.clock.advance(60)
    (wake,) = bench.wakes()
    assert (wake["type"], wake["stage_record_id"]) == ("stage.pollSuspended", waiting.id)


def test_only_stages_that_are_due_are_asked(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(batch_stage(lambda _s, _c: Ready(1))))
    suspend(bench, wait=59)
    assert poll(bench).checked == 0
    bench.clock.advance(1)
    assert poll(bench).checked == 1


def test_a_poll_checks_at_most_max_checks_stages(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(batch_stage(lambda _s, _c: Ready(1))))
    runs = [bench.create() for _ in range(3)]
    bench.host.process_available_jobs(max_jobs=5)
    bench.clock.advance(60)
    assert poll(bench, max_checks=2).checked == 2
    named = bench.stage(next(run_id for run_id in runs if bench.run_of(run_id).status is RunStatus.RUNNING))
    assert poll(bench, stage_record_id=named.id).resumed == 1


def test_a_ready_stage_completes_and_its_run_advances(make_bench: MakeBench) -> None:
    blobs = InMemoryBlobStore()
    ready = Ready("x" * 9000, metrics={"n": 2}, embeddings={"model": "m"})
    bench = make_bench(pipeline(batch_stage(lambda _s, _c: ready), stage("b")), blob_store=blobs)
    run_id = suspend(bench)
    result = poll(bench)
    assert (result.checked, result.resumed, result.failed, result.resumed_workflow_run_ids) == (1, 1, 0, (run_id,))
    done = bench.stage(run_id)
    assert (done.status, done.metrics, done.embedding_info) == (StageStatus.COMPLETED, {"n": 2}, {"model": "m"})
    assert (done.next_poll_at, done.poll_token, done.duration_ms) == (None, None, 60_000)
    assert bench.job(run_id, "a").status is JobStatus.COMPLETED
    assert bench.statuses(run_id) == {"a": "COMPLETED", "b": "PENDING"}
    assert bench.run_to_completion(run_id).run.status is RunStatus.COMPLETED
    assert bench.output(run_id) == "x" * 9000


@pytest.mark.parametrize(("answer", "seconds"), [(NotReady(), 60), (NotReady(7), 7)])
def test_a_stage_that_is_not_ready_is_asked_again(make_bench: MakeBench, answer: NotReady, seconds: int) -> None:
    bench = make_bench(pipeline(batch_stage(lambda _s, _c: answer)))
    run_id = suspend(bench)
    assert (poll(bench).checked, poll(bench).checked) == (1, 0)
    assert bench.stage(run_id).next_poll_at == bench.clock.now() + timedelta(seconds=seconds)
    bench.clock.advance(seconds)
    assert poll(bench).checked == 1


def broken(_state: object, _ctx: object) -> None:
    raise ConnectionError("provider is gone")


@pytest.mark.parametrize(
    ("check", "says"),
    [
        (lambda _s, _c: BatchFailed("bad file \x00"), "BatchFailed: bad file \ufffd"),
        (broken, "ConnectionError: provider is gone"),
        (lambda _s, _c: "done", "return Ready, NotReady or BatchFailed"),
        (lambda _s, _c: Ready(object()), "does not fit"),
    ],
    ids=["failed", "raises", "wrong answer", "wrong output"],
)
def test_a_check_that_fails_fails_the_stage_and_the_run(make_bench: MakeBench, check: Any, says: str) -> None:
    bench = make_bench(pipeline(batch_stage(check)))
    run_id = suspend(bench)
    result = poll(bench)
    assert (result.checked, result.resumed, result.failed) == (1, 0, 1)
    run = bench.run_of(run_id)
    assert (run.status, bench.statuses(run_id)) == (RunStatus.FAILED, {"a": "FAILED"})
    assert says in (run.failure_message or "")
    assert bench.told(run_id)[-2:] == ["stage:failed", "workflow:failed"]


def test_an_async_check_is_awaited_and_sees_its_state(make_bench: MakeBench) -> None:
    async def check(state: Any, ctx: Any) -> Ready[list[Any]]:
        ctx.annotate("checked", state.batch_id)
        return Ready([state.batch_id, ctx.stage_id])

    bench = make_bench(pipeline(batch_stage(check)))
    run_id = suspend(bench)
    poll(bench)
    assert bench.output(run_id) == ["batch-1", "a"]
    assert [note.value for note in bench.annotations.list(run_id)] == ["batch-1"]


def test_a_cancellation_during_the_check_wins(make_bench: MakeBench) -> None:
    def check(_state: object, _ctx: object) -> Ready[int]:
        bench.dispatch(RunCancel(workflow_run_id=run_id))
        return Ready(1)

    bench = make_bench(pipeline(batch_stage(check)))
    run_id = suspend(bench)
    assert poll(bench).resumed == 0
    assert (bench.run_of(run_id).status, bench.statuses(run_id)) == (RunStatus.CANCELLED, {"a": "CANCELLED"})
    assert bench.told(run_id)[-1] == "workflow:cancelled"


@pytest.mark.failure(81)
def test_a_poll_of_one_run_leaves_the_others(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(batch_stage(lambda _state, _ctx: Ready(1))))
    first, second = bench.create(), bench.create()
    bench.work(first)
    bench.work(second)
    bench.clock.advance(60)
    assert bench.dispatch(StagePollSuspended(workflow_run_id=first)).resumed_workflow_run_ids == (first,)
    assert bench.statuses(second) == {"a": StageStatus.SUSPENDED}


@pytest.mark.failure(70)
def test_a_poller_that_died_is_replaced_after_a_minute(make_bench: MakeBench) -> None:
    def check(_state: object, _ctx: object) -> Ready[int]:
        if not died:
            died.append(True)
            raise KeyboardInterrupt
        return Ready(1)

    died: list[bool] = []
    bench = make_bench(pipeline(batch_stage(check)))
    run_id = suspend(bench)
    with pytest.raises(KeyboardInterrupt):
        poll(bench)
    bench.clock.advance(59)
    assert poll(bench).checked == 0
    bench.clock.advance(1)
    assert poll(bench).resumed == 1
    assert bench.run_of(run_id).status is RunStatus.COMPLETED


def test_a_message_that_meets_another_poller_comes_again_after_its_claim(make_bench: MakeBench) -> None:
    """The other may be dead, and this may be the last message."""

    def check(_state: object, _ctx: object) -> Ready[int]:
        raise KeyboardInterrupt

    bench = make_bench(pipeline(batch_stage(check)))
    run_id = suspend(bench)
    with pytest.raises(KeyboardInterrupt):
        poll(bench)
    bench.wakes()
    named = StagePollSuspended(stage_record_id=bench.stage(run_id).id, workflow_run_id=run_id, max_checks=1)
    assert bench.dispatch(named).checked == 0
    bench.clock.advance(59)
    assert named.model_dump(mode="json") not in bench.wakes()
    bench.clock.advance(1)
    assert named.model_dump(mode="json") in bench.wakes()


@pytest.mark.parametrize("answer", [Ready("in time"), NotReady()], ids=["ready", "not ready"])
def test_a_late_poller_cannot_commit_over_its_successor(make_bench: MakeBench, answer: Any) -> None:
    def check(_state: object, _ctx: object) -> Any:
        if late:
            return answer
        late.append(True)
        bench.clock.advance(300)
        assert poll(bench).checked == 1
        return Ready("too late")

    late: list[bool] = []
    bench = make_bench(pipeline(batch_stage(check)))
    run_id = suspend(bench)
    assert poll(bench).resumed == 0
    if isinstance(answer, Ready):
        assert bench.output(run_id) == "in time"
    else:
        assert bench.statuses(run_id) == {"a": StageStatus.SUSPENDED}


@in_memory
def test_a_stage_the_workflow_no_longer_has_says_so(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(batch_stage(lambda _s, _c: Ready(1))))
    run_id = suspend(bench)
    bench.workflows.by_id["w"] = pipeline(stage("z"))
    assert poll(bench).failed == 1
    assert bench.run_of(run_id).failure_code == "WORKFLOW_CHANGED"
