from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from pydantic import BaseModel

from engine import NotReady, Ready, StageContext, Suspended
from engine.domain.lifecycle import RunStatus, StageStatus
from engine.kernel import RunReconcile, StagePollSuspended
from engine.testing.contracts.threads import together
from tests.kernel.bench import Bench
from tests.kernel.stores import MakeBench, in_databases
from tests.kernel.workflows import Flaky, batch_stage, pipeline, stage
from tests.support.waiting import until as until_so


def suspended(bench: Bench) -> str:
    """A run whose stage is suspended and due."""
    run_id = bench.create()
    bench.work(run_id)
    bench.clock.advance(60)
    return run_id


@pytest.mark.failure(15)
@pytest.mark.parametrize("by", ["poll", "reconcile"])
def test_a_suspended_stage_whose_workflow_is_gone_fails_with_its_run(make_bench: MakeBench, by: str) -> None:
    """The run does not stay RUNNING."""
    bench = make_bench(pipeline(batch_stage(lambda _state, _ctx: Ready(1))))
    run_id = suspended(bench)
    bench.workflows.by_id.clear()
    command: Any = StagePollSuspended() if by == "poll" else RunReconcile(workflow_run_id=run_id)
    bench.dispatch(command)
    run = bench.run_of(run_id)
    assert (bench.statuses(run_id), run.status) == ({"a": StageStatus.FAILED}, RunStatus.FAILED)
    assert run.failure_code == "WORKFLOW_NOT_FOUND"
    assert bench.told(run_id)[-2:] == ["stage:failed", "workflow:failed"]


@pytest.mark.failure(16)
def test_waiting_ends_at_max_wait(make_bench: MakeBench) -> None:
    """The stage does not wait for one more poll interval."""
    waits = batch_stage(
        lambda _state, _ctx: NotReady(), body=lambda _ctx: Suspended("b", poll_interval=60, max_wait=100)
    )
    bench = make_bench(pipeline(waits))
    run_id = suspended(bench)
    assert bench.dispatch(StagePollSuspended()).checked == 1
    assert bench.statuses(run_id) == {"a": StageStatus.SUSPENDED}
    bench.clock.advance(40)
    assert bench.dispatch(StagePollSuspended()).failed == 1
    assert (bench.run_of(run_id).status, bench.run_of(run_id).failure_code) == (RunStatus.FAILED, "STAGE_TIMEOUT")


@pytest.mark.failure(16)
def test_a_failing_try_does_not_end_the_run_while_a_sibling_finishes(make_bench: MakeBench) -> None:
    """A FAILED stage with attempts left is not a failure of the run."""
    bench = make_bench(pipeline([stage("a", Flaky(1)), stage("b")]))
    run_id = bench.create()
    bench.finish(bench.start(job_id=bench.job(run_id, "a").id))
    assert bench.statuses(run_id) == {"a": StageStatus.FAILED, "b": StageStatus.PENDING}
    bench.finish(bench.start(job_id=bench.job(run_id, "b").id))
    bench.tick()
    assert bench.run_of(run_id).status is RunStatus.RUNNING
    assert bench.run_to_completion(run_id).run.status is RunStatus.COMPLETED


class Options(BaseModel):
    level: int = 1


@pytest.mark.failure(16)
def test_a_stage_record_holds_its_own_config_only(make_bench: MakeBench) -> None:
    """It does not hold the config of all stages."""
    bench = make_bench(pipeline(stage("a", config=Options), stage("b", config=Options)))
    run_id = bench.run("w", config={"a": {"level": 3}}).run.id
    assert bench.stage(run_id, "a").config == {"level": 3}
    assert bench.stage(run_id, "b").config == {"level": 1}


@pytest.mark.failure(70)
def test_a_long_check_keeps_its_claim(make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch) -> None:
    def check(_state: Any, _ctx: Any) -> Any:
        bench.clock.advance(50)
        until = bench.clock.now() + timedelta(seconds=60)
        until_so(lambda: bench.stage(run_id).poll_until == until, "the renewal of the claim")
        bench.clock.advance(50)
        assert bench.dispatch(StagePollSuspended()).checked == 0
        return Ready(1)

    monkeypatch.setattr("engine.kernel.polls.RENEWAL_SECONDS", 0.01)
    bench = make_bench(pipeline(batch_stage(check)))
    run_id = suspended(bench)
    assert bench.dispatch(StagePollSuspended()).resumed == 1


@pytest.mark.failure(22)
def test_a_poll_during_a_poll_does_not_ask_again(make_bench: MakeBench) -> None:
    """A poller claims the stage before it checks."""
    others: list[int] = []

    def check(_state: object, _ctx: object) -> NotReady:
        others.append(bench.dispatch(StagePollSuspended()).checked)
        bench.dispatch(RunReconcile(workflow_run_id=run_id))
        return NotReady()

    bench = make_bench(pipeline(batch_stage(check)))
    run_id = suspended(bench)
    assert bench.dispatch(StagePollSuspended()).checked == 1
    assert others == [0]


@pytest.mark.failure(22)
@in_databases
def test_three_pollers_at_once_ask_the_provider_once(make_bench: MakeBench) -> None:
    """Three threads poll at the same time."""
    asked: list[str] = []

    def check(_state: object, ctx: Any) -> Ready[int]:
        asked.append(ctx.workflow_run_id)
        return Ready(1)

    benches = [make_bench(pipeline(batch_stage(check))) for _ in range(3)]
    runs = [benches[0].create() for _ in range(4)]
    benches[0].host.process_available_jobs(max_jobs=10)
    benches[0].clock.advance(60)
    polls: list[Callable[[], object]] = [partial(bench.dispatch, StagePollSuspended()) for bench in benches]
    together(polls)
    assert sorted(asked) == sorted(runs)
    assert [benches[0].run_of(run_id).status for run_id in runs] == [RunStatus.COMPLETED] * 4


@pytest.mark.failure(22)
def test_the_body_of_a_suspended_stage_runs_once(make_bench: MakeBench) -> None:
    """The batch is submitted once."""
    submitted: list[int] = []

    def submit(ctx: StageContext[Any, Any]) -> Suspended:
        submitted.append(ctx.attempt)
        return Suspended("b")

    bench = make_bench(pipeline(batch_stage(lambda _state, _ctx: Ready("out"), body=submit)))
    run = bench.run("w").run
    assert (submitted, bench.output(run.id)) == ([1], "out")
