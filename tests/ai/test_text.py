"""Text, objects, tools, vectors and streams, through litellm and HTTP to a server on loopback."""

import asyncio
import time
from typing import Any, Literal
from unittest.mock import patch

import pytest
from pydantic import BaseModel

from engine.ai import (
    AICallFailed,
    AICallRefused,
    AIHelper,
    AIOutputError,
    FilePart,
    LiteLLMGateway,
    Step,
    Usage,
)
from engine.ai.messages import Prompt
from engine.domain.limits import TOPIC
from engine.testing import InMemoryAICallLogger
from engine.testing.fake_ai import FakeAIServer
from engine.testing.fake_ai.chat import Scripted
from tests.ai.conftest import PRICE

KEYS = ("OPENAI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY", "ANTHROPIC_API_KEY")


@pytest.fixture
def keyless(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)


class Verdict(BaseModel):
    category: Literal["billing", "bug"]
    confidence: float


def test_text_comes_with_its_tokens_and_cost(ai: AIHelper, fake: FakeAIServer) -> None:
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "prompt_tokens_details": {"cached_tokens": 40},
        "completion_tokens_details": {"reasoning_tokens": 30},
    }
    fake.say(Scripted(text="hello", reasoning="think", usage=usage))
    result = ai.generate_text("chat", "hi", instructions="be brief", temperature=0.1, max_tokens=60)
    assert (result.text, result.reasoning, result.finish_reason) == ("hello", "think", "stop")
    assert result.usage == Usage(input_tokens=100, output_tokens=50, cached_tokens=40, reasoning_tokens=30)
    assert result.cost == pytest.approx(60e-6 + 4e-6 + 40e-6 + 120e-6)
    (sent,) = fake.chats()
    assert [each["role"] for each in sent["messages"]] == ["system", "user"]
    assert (sent["temperature"], sent["max_tokens"], sent["model"]) == (0.1, 60, "fake-chat")
    stats = ai.get_stats()
    assert (stats.calls, stats.tokens, stats.cost) == (1, 150, result.cost)


def test_reasoning_may_be_there_while_the_text_is_empty(ai: AIHelper, fake: FakeAIServer) -> None:
    fake.say(Scripted(text="", reasoning="hmm"))
    result = ai.generate_text("chat", "hi")
    assert (result.text, result.reasoning) == ("", "hmm")


def test_files_travel_as_parts(ai: AIHelper, fake: FakeAIServer) -> None:
    prompt: Prompt = ["what is it?", FilePart(b"png", "image/png"), FilePart("cGRm", "application/pdf", "a.pdf")]
    ai.generate_text("chat", prompt)
    (sent,) = fake.chats()
    assert [part["type"] for part in sent["messages"][0]["content"]] == ["text", "image_url", "file"]


def test_async_bodies_use_the_same_helper(ai: AIHelper) -> None:
    async def body() -> tuple[str, str]:
        first = await ai.aio.generate_text("chat", "one two three")
        return first.text, ai.generate_text("chat", "one two three").text

    first, second = asyncio.run(body())
    assert first == second
    assert ai.get_stats().calls == 2


def test_tools_run_in_a_loop_and_are_logged_for_nothing(
    ai: AIHelper, fake: FakeAIServer, log: InMemoryAICallLogger
) -> None:
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    async def shout(text: str) -> str:
        return text.upper()

    steps: list[Step] = []
    fake.say(Scripted(tool="add", arguments={"a": 2, "b": 3}), Scripted(tool="shout", arguments={"text": "hi"}))
    result = ai.generate_text("chat", "sum", tools=[add, shout], on_step=steps.append)
    assert [each.result for step in steps for each in step.tool_results] == [5, "HI"]
    assert result.cost == pytest.approx(sum(step.cost or 0 for step in steps))
    last = fake.chats()[-1]["messages"]
    assert [each["role"] for each in last] == ["user", "assistant", "tool", "assistant", "tool"]
    assert log.get_stats("topic.tool.add").calls == 1
    assert log.get_stats("topic.tool").cost == 0.0
    assert log.get_stats("topic").cost == pytest.approx(result.cost)
    assert log.get_stats("topic").tokens == result.usage.total_tokens


def test_the_topic_of_a_tool_is_cut_where_an_index_ends(
    ai: AIHelper, log: InMemoryAICallLogger, fake: FakeAIServer
) -> None:
    child = ai.create_child("c", "x" * (TOPIC - len(f"{ai.topic}.c.")))

    def add(a: int) -> int:
        return a

    fake.say(Scripted(tool="add", arguments={"a": 2}))
    child.generate_text("chat", "sum", tools=[add])
    assert log.get_stats(child.topic).calls == 3


def test_a_tool_called_wrongly_returns_the_fault_and_the_loop_ends(ai: AIHelper, fake: FakeAIServer) -> None:
    def add(a: int) -> int:
        return a

    fake.say(*[Scripted(tool="add", arguments={"a": "x"})] * 3)
    result = ai.generate_text("chat", "sum", tools=[add], max_steps=3)
    assert (result.finish_reason, len(result.steps), result.text) == ("tool_calls", 3, "")
    assert result.steps[0].tool_results[0].error


def test_an_object_comes_from_the_models_own_schema(ai: AIHelper, fake: FakeAIServer) -> None:
    result = ai.generate_object("chat", "the billing is wrong", Verdict)
    assert result.object.category == "billing"
    assert fake.chats()[0]["response_format"]["type"] == "json_schema"


def test_without_a_schema_of_its_own_the_model_is_told_and_fences_go(ai: AIHelper, fake: FakeAIServer) -> None:
    fake.say(Scripted(text='```json\n{"category": "bug", "confidence": 1}\n```'))
    result = ai.generate_object("plain", "it crashes", Verdict)
    assert result.object == Verdict(category="bug", confidence=1)
    assert "response_format" not in fake.chats()[0]
    assert "JSON schema" in fake.chats()[0]["messages"][-1]["content"]


def test_an_object_that_does_not_fit_is_repaired_once_and_both_are_billed(ai: AIHelper, fake: FakeAIServer) -> None:
    fake.say(Scripted(text="no json"), Scripted(text='{"category": "bug", "confidence": 0.5}'))
    result = ai.generate_object("chat", "it crashes", Verdict)
    assert result.repaired
    assert ai.get_stats().calls == 2
    assert ai.get_stats().cost == pytest.approx(result.cost)


def test_an_object_that_never_fits_is_an_error_with_what_was_said(ai: AIHelper, fake: FakeAIServer) -> None:
    fake.say(Scripted(text="no"), Scripted(text="still no"))
    with pytest.raises(AIOutputError, match="Verdict") as raised:
        ai.generate_object("chat", "it crashes", Verdict)
    assert raised.value.text == "still no"
    assert (ai.get_stats().calls, ai.get_stats().unsettled) == (2, 0)


def test_output_gives_an_object_after_the_tools(ai: AIHelper) -> None:
    result = ai.generate_text("chat", "a bug", output=Verdict)
    assert isinstance(result.output, Verdict)
    assert ai.get_stats().cost == pytest.approx(result.cost)


def test_a_list_is_embedded_in_one_round_trip(ai: AIHelper, fake: FakeAIServer) -> None:
    result = ai.embed("vectors", ["one", "two", "three"], dimensions=8)
    assert (len(result.embeddings), result.dimensions) == (3, 8)
    assert len(fake.requests) == 1
    assert result.cost == ai.get_stats().cost
    assert ai.get_stats().cost > 0


def test_a_failure_is_tried_again_and_each_try_is_in_the_ledger(ai: AIHelper, fake: FakeAIServer) -> None:
    fake.say(Scripted(status=503), Scripted(text="at last"))
    assert ai.generate_text("chat", "hi").text == "at last"
    assert (ai.get_stats().calls, ai.get_stats().unknown) == (2, 0)


def test_a_refusal_is_not_tried_again(ai: AIHelper, fake: FakeAIServer) -> None:
    fake.say(Scripted(status=401, text="wrong key"))
    with pytest.raises(AICallRefused, match="wrong key"):
        ai.generate_text("chat", "hi")
    assert len(fake.requests) == 1
    assert ai.get_stats().cost == 0.0


def test_an_answer_that_does_not_come_in_time_may_have_cost_something(ai: AIHelper, fake: FakeAIServer) -> None:
    fake.say(Scripted(delay=1.0))
    with pytest.raises(AICallFailed) as raised:
        ai.generate_text("chat", "hi", timeout=0.3, max_retries=0, max_tokens=10)
    assert raised.value.may_be_charged
    stats = ai.get_stats()
    assert (stats.unknown, stats.unsettled_cost > 0) == (1, True)


def test_a_server_that_is_not_there_costs_nothing(log: InMemoryAICallLogger, ai: AIHelper) -> None:
    lost = AIHelper("lost", log, LiteLLMGateway(api_base="http://127.0.0.1:9"), models=ai._context.models)
    with pytest.raises(AICallFailed):
        lost.generate_text("chat", "hi", max_retries=0)
    assert (lost.get_stats().calls, lost.get_stats().unknown) == (1, 0)


@pytest.mark.parametrize("is_set", [False, True])
@pytest.mark.parametrize(
    ("model", "variable"),
    [("gpt-4o-mini", "OPENAI_API_KEY"), ("gemini-2.5-flash", "GEMINI_API_KEY"), ("claude-haiku-4-5", "ANTHROPIC")],
)
@pytest.mark.usefixtures("keyless")
def test_without_a_key_it_is_said_once_what_to_do_and_it_costs_nothing(
    model: str, variable: str, *, is_set: bool, log: InMemoryAICallLogger, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in KEYS if is_set else ():
        monkeypatch.setenv(name, "")
    ai = AIHelper("keyless", log, LiteLLMGateway())
    with pytest.raises(AICallRefused, match=f"there is no key to ask {model!r} .*set .*{variable}.*--fake-ai"):
        ai.generate_text(model, "hi")
    assert (ai.get_stats().calls, ai.get_stats().cost, ai.get_stats().unknown) == (1, 0.0, 0)


@pytest.mark.usefixtures("keyless")
def test_calls_that_are_dropped_because_one_had_no_key_cost_nothing_either(log: InMemoryAICallLogger) -> None:
    ai = AIHelper("keyless", log, LiteLLMGateway())

    async def many() -> None:
        await asyncio.gather(*(ai.aio.generate_text("gpt-4o-mini", f"hi {number}") for number in range(8)))

    with pytest.raises(AICallRefused):
        asyncio.run(many())
    stats = ai.get_stats()
    assert (stats.cost, stats.unknown, stats.unsettled) == (0.0, 0, 0)


@pytest.mark.usefixtures("keyless")
def test_a_call_without_a_key_that_is_cancelled_on_its_way_cost_nothing(log: InMemoryAICallLogger) -> None:
    ai = AIHelper("keyless", log, LiteLLMGateway())

    async def cancelled_after(turns: int) -> None:
        call = asyncio.create_task(ai.aio.generate_text("gpt-4o-mini", f"hi {turns}"))
        await asyncio.sleep(turns / 1000)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)

    for turns in range(8):
        asyncio.run(cancelled_after(turns))
    stats = ai.get_stats()
    assert (stats.cost, stats.unknown, stats.unsettled) == (0.0, 0, 0)


def test_a_call_that_is_cancelled_while_it_reserves_gives_that_back(ai: AIHelper, log: InMemoryAICallLogger) -> None:
    reserve = log.reserve

    def slowly(*given: Any) -> None:
        time.sleep(0.2)
        reserve(*given)

    async def cancelled() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ai.aio.generate_text("chat", "hi"), 0.1)

    with patch.object(log, "reserve", slowly):
        asyncio.run(cancelled())
    stats = ai.get_stats()
    assert (stats.calls, stats.cost, stats.unknown, stats.unsettled) == (1, 0.0, 0, 0)


def test_a_stream_gives_text_only_and_knows_the_rest_afterwards(ai: AIHelper, fake: FakeAIServer) -> None:
    heard: list[str] = []
    fake.say(Scripted(text="one two three", reasoning="because", usage={"prompt_tokens": 9, "completion_tokens": 4}))
    with ai.stream_text("chat", "count", on_chunk=heard.append) as stream:
        pieces = list(stream)
        assert "".join(pieces) == stream.get_text() == "".join(heard) == "one two three"
        assert stream.get_reasoning() == "because"
        assert (stream.get_usage().input_tokens, stream.get_usage().output_tokens) == (9, 4)
    assert ai.get_stats().cost == stream.cost == PRICE.of(stream.get_usage())


@pytest.mark.failure(39)
@pytest.mark.parametrize("how", ["with", "left"])
def test_a_stream_whose_reader_stops_early_is_recorded(ai: AIHelper, fake: FakeAIServer, how: str) -> None:
    fake.say(Scripted(text=" ".join(["word"] * 200)))
    stream = ai.stream_text("chat", messages=[{"role": "user", "content": "go on"}])
    assert next(stream) == "word"
    if how == "with":
        with stream:
            pass
    del stream
    stats = ai.get_stats()
    assert (stats.calls, stats.unsettled) == (1, 0)
    assert 0 < stats.output_tokens < 50
    assert stats.cost > 0


def test_a_stream_that_breaks_off_is_recorded_with_the_text_received(ai: AIHelper, fake: FakeAIServer) -> None:
    fake.say(Scripted(text=" ".join(["word"] * 50), cut=10))
    with pytest.raises(AICallFailed):
        ai.stream_text("chat", "go on").get_text()
    assert (ai.get_stats().unsettled, ai.get_stats().cost > 0) == (0, True)


def test_an_async_stream(ai: AIHelper, fake: FakeAIServer) -> None:
    fake.say(Scripted(text="a b c"))

    async def body() -> str:
        return "".join([piece async for piece in ai.aio.stream_text("chat", "go")])

    assert asyncio.run(body()) == "a b c"
    assert ai.get_stats().calls == 1


def test_a_provider_that_says_nothing_of_tokens_is_measured_here(ai: AIHelper, fake: FakeAIServer) -> None:
    fake.say(Scripted(text="one two three", usage=None))
    result = ai.generate_text("chat", "hi")
    assert result.usage.output_tokens > 0


def test_litellms_own_mock_mode_answers_without_a_server(log: InMemoryAICallLogger) -> None:
    ai = AIHelper("mock", log, LiteLLMGateway())
    result = ai.generate_text("gemini-2.5-flash", "hi", provider_options={"mock_response": "mocked"})
    assert result.text == "mocked"
    assert result.cost == pytest.approx(result.input_tokens * 3e-7 + result.output_tokens * 2.5e-6)


def test_children_have_topics_under_their_parents(ai: AIHelper, log: InMemoryAICallLogger) -> None:
    child = ai.create_child("ticket", "4.2")
    child.record_call("chat", usage=Usage(input_tokens=10, output_tokens=0))
    assert child.topic == "topic.ticket.4_2"
    assert log.get_stats("topic").cost == child.get_stats().cost == pytest.approx(1e-5)


@pytest.mark.failure(38)
def test_the_sum_of_a_topic_leaves_out_topics_that_only_begin_like_it(ai: AIHelper) -> None:
    first, tenth = ai.create_child("run", "1"), ai.create_child("run", "10")
    tenth.record_call("chat", usage=Usage(input_tokens=10, output_tokens=0))
    assert (first.get_stats().calls, tenth.get_stats().calls, ai.get_stats().calls) == (0, 1, 1)


@pytest.mark.failure(37)
def test_an_unknown_price_is_unknown_and_not_nothing(ai: AIHelper) -> None:
    result = ai.generate_text("priceless", "hi")
    assert result.cost is None
    assert (ai.get_stats().cost, ai.get_stats().unknown) == (0.0, 1)
