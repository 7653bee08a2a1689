"""Each call is in the totals of its stage and run, also after failures and crashes."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from engine import Budget, NoInput, RetryPolicy, StageContext, define_stage, define_workflow
from engine.adapters.memory.persistence import InMemoryPersistence
from engine.adapters.sql.persistence import SqlPersistence
from engine.ai import LiteLLMGateway, ModelInfo, Price, register_models
from engine.ai.providers.openai import OpenAIBatches
from engine.domain.ai_calls import CallState
from engine.domain.errors import BudgetExceeded
from engine.domain.lifecycle import RunStatus
from engine.kernel import RunRerunFrom, StageCompleted, WorkflowCompleted
from engine.ports.reads import RunView
from engine.testing import FakeClock, TestKernel
from engine.testing.fake_ai import FakeAIServer
from engine.testing.fake_ai.chat import Scripted
from tests.unit.sql.stores import emptied

NO_WAIT = RetryPolicy(initial=0, jitter=0)


@pytest.fixture(autouse=True)
def thirty_cents_a_call() -> None:
    register_models(
        {
            "dime": ModelInfo(key="dime", id="dime", provider="openai", price=Price(input=0.0, output=0.03)),
            "free": ModelInfo(key="free", id="free", provider="openai", price=Price(input=1e-6, output=2e-6)),
            "untold": ModelInfo(key="untold", id="untold", provider="openai"),
        }
    )


TEN = Scripted(text="ok", usage={"prompt_tokens": 5, "completion_tokens": 10})


class Out(BaseModel):
    said: int = 0


def one_stage(body: Any, **options: Any) -> Any:
    budget = options.pop("run_budget", None)
    stage = define_stage(id="ask", name="Ask", execute=body, input=NoInput, output=Out, retry=NO_WAIT, **options)
    return define_workflow(id="w", name="W", budget=budget).pipe(stage).build()


def kernel(workflow: Any, gateway: LiteLLMGateway, **parts: Any) -> TestKernel:
    return TestKernel(workflow, ai_gateway=gateway, **parts)


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A clock, and a persistence on it."""
    clock = FakeClock()
    if request.param == "memory":
        yield {"clock": clock, "persistence": InMemoryPersistence(clock)}
        return
    sqlite = f"sqlite:///{tmp_path}/engine.db"
    url = sqlite if request.param == "sqlite" else emptied(request.getfixturevalue("postgres_server"))
    persistence = SqlPersistence(url, clock=clock)
    yield {"clock": clock, "persistence": persistence}
    persistence.close()


def check_ledger(bench: TestKernel, view: RunView) -> None:
    """Sum of logged calls = stage totals = run totals."""
    calls = bench.reads.ai_calls(view.run.id)
    cost, tokens = sum(call.cost or 0.0 for call in calls), sum(call.tokens for call in calls)
    assert view.run.total_cost == pytest.approx(cost)
    assert view.run.total_tokens == tokens
    assert sum(stage.total_cost for stage in view.stages) == pytest.approx(cost)
    assert sum(stage.total_tokens for stage in view.stages) == tokens
    assert sum(each.cost for each in bench.reads.call_totals(view.run.id)) == pytest.approx(cost)


def test_success_failure_and_retry_are_all_in_the_totals(gateway: LiteLLMGateway) -> None:
    def body(ctx: StageContext[NoInput]) -> Out:
        ctx.ai.generate_text("free", f"attempt {ctx.attempt}")
        if ctx.attempt < 3:
            raise ValueError("not yet")
        return Out(said=ctx.attempt)

    bench = kernel(one_stage(body), gateway)
    view = bench.run("w")
    assert view.run.status is RunStatus.COMPLETED
    assert [call.attempt for call in bench.reads.ai_calls(view.run.id)] == [1, 2, 3]
    assert view.run.total_cost > 0
    check_ledger(bench, view)
    completed = [event for event in bench.events.events if isinstance(event, WorkflowCompleted)]
    assert completed[0].total_cost == view.run.total_cost


def test_the_event_of_a_completed_stage_says_what_it_cost(gateway: LiteLLMGateway, store: dict[str, Any]) -> None:
    def body(ctx: StageContext[NoInput]) -> Out:
        ctx.ai.generate_text("free", "hi")
        ctx.annotate("said", 1)
        return Out()

    bench = kernel(one_stage(body), gateway, **store)
    view = bench.run("w")
    (event,) = [event for event in bench.events.events if isinstance(event, StageCompleted)]
    (stage,) = view.stages
    assert stage.total_cost > 0
    assert (event.total_cost, event.total_tokens) == (stage.total_cost, stage.total_tokens)


def test_a_rerun_adds_to_what_the_run_and_its_stages_have_cost(gateway: LiteLLMGateway) -> None:
    def ask(stage_id: str) -> Any:
        def body(ctx: StageContext[NoInput]) -> Out:
            if stage_id != "last" or ctx.generation == 0:
                ctx.ai.generate_text("free", f"{stage_id} {ctx.generation}")
            return Out()

        return define_stage(id=stage_id, name=stage_id, execute=body, input=NoInput, output=Out)

    workflow = define_workflow(id="w", name="W").pipe(ask("first")).pipe(ask("second")).pipe(ask("last")).build()
    bench = kernel(workflow, gateway)
    before = bench.run("w")
    bench.dispatch(RunRerunFrom(workflow_run_id=before.run.id, from_stage_id="first"))
    view = bench.run_to_completion(before.run.id)
    check_ledger(bench, view)
    assert len(bench.reads.ai_calls(view.run.id)) == 5
    assert [stage.total_cost > 0 for stage in view.stages] == [True, True, True]


def test_what_a_lost_attempt_paid_for_is_given_again_and_stays_its_own(
    gateway: LiteLLMGateway, fake: FakeAIServer
) -> None:
    def body(ctx: StageContext[NoInput]) -> Out:
        ctx.ai.generate_text("free", "the same")
        ctx.ai.generate_text("free", "the same")
        if ctx.attempt == 1:
            raise KeyboardInterrupt  # as if the process were told to go, with the stage in its hands
        return Out()

    bench = kernel(one_stage(body), gateway)
    run_id = bench.create("w")
    with pytest.raises(KeyboardInterrupt):
        bench.run_to_completion(run_id)
    view = bench.run_to_completion(run_id)
    assert view.run.status is RunStatus.COMPLETED
    assert [call.attempt for call in bench.reads.ai_calls(run_id)] == [1, 1]
    assert len(fake.chats()) == 2
    check_ledger(bench, view)


def test_a_call_whose_process_died_is_unsettled_and_counts_in_caps(
    gateway: LiteLLMGateway, fake: FakeAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def body(ctx: StageContext[NoInput]) -> Out:
        for number in range(4):
            ctx.ai.generate_text("dime", f"{ctx.attempt} {number}", max_tokens=10)
        return Out()

    bench = kernel(one_stage(body, run_budget=Budget(max_cost=1.0)), gateway)
    fake.say(*[TEN] * 9)
    run_id = bench.create("w")

    def dies(*_given: Any) -> Any:
        raise KeyboardInterrupt  # as if the process were told to go, with the stage in its hands

    with monkeypatch.context() as patched:
        patched.setattr("engine.ai.call_log.CallLog.settle", dies)
        with pytest.raises(KeyboardInterrupt):
            bench.run_to_completion(run_id)
    view = bench.run_to_completion(run_id)
    assert (view.run.status, view.run.failure_code) == (RunStatus.FAILED, "BUDGET_EXCEEDED")
    states = [(call.state, call.attempt) for call in bench.reads.ai_calls(run_id)]
    assert states == [(CallState.RESERVED, 1), (CallState.SETTLED, 2), (CallState.SETTLED, 2)]
    assert len(fake.chats()) == 3
    check_ledger(bench, view)


def test_each_of_two_equal_batches_is_found_again_by_the_next_attempt(
    gateway: LiteLLMGateway, fake: FakeAIServer
) -> None:
    seen: list[list[str]] = []

    def body(ctx: StageContext[NoInput]) -> Out:
        batch = ctx.ai.batch("free", OpenAIBatches("key", fake.url))
        seen.append([batch.submit([{"id": "a", "prompt": "hi"}], max_tokens=5).id for _ in range(2)])
        if ctx.attempt == 1:
            raise ValueError("not yet")
        return Out()

    view = kernel(one_stage(body), gateway).run("w")
    assert view.run.status is RunStatus.COMPLETED
    first, second = seen
    assert first == second
    assert len(set(first)) == len(fake.requests) == 2


@pytest.mark.parametrize("where", ["run_budget", "budget"])
def test_of_five_calls_of_thirty_cents_in_flight_the_fourth_and_fifth_are_not_sent_with_a_dollar(
    gateway: LiteLLMGateway, fake: FakeAIServer, where: str, store: dict[str, Any]
) -> None:
    async def body(ctx: StageContext[NoInput]) -> Out:
        asked = (ctx.ai.aio.generate_text("dime", f"number {n}", max_tokens=10) for n in range(5))
        answers = await asyncio.gather(*asked, return_exceptions=True)
        refused = [each for each in answers if isinstance(each, BudgetExceeded)]
        assert len(refused) == 2
        raise refused[0]

    bench = kernel(one_stage(body, **{where: Budget(max_cost=1.0)}), gateway, **store)
    fake.say(*[TEN] * 5)
    view = bench.run("w")
    assert view.run.failure_code == "BUDGET_EXCEEDED"
    assert view.jobs[0].attempt == 1
    assert len(fake.chats()) == 3
    assert view.run.total_cost == pytest.approx(0.9)
    check_ledger(bench, view)


@pytest.mark.failure(37)
def test_an_unknown_price_passes_a_cap_on_cost_only_when_it_is_given(
    gateway: LiteLLMGateway, fake: FakeAIServer
) -> None:
    def body(ctx: StageContext[NoInput]) -> Out:
        ctx.ai.generate_text("untold", "hi", price=Price(input=0, output=0.001), max_tokens=10)
        ctx.ai.generate_text("untold", "hi", max_tokens=10)
        return Out()

    bench = kernel(one_stage(body, budget=Budget(max_cost=1.0)), gateway)
    view = bench.run("w")
    assert view.run.failure_code == "BUDGET_EXCEEDED"
    assert "not known" in (view.run.failure_message or "")
    assert len(fake.chats()) == 1
