"""Helpers outside of runs, with their own models and budgets."""

import pytest

from engine.ai import AIHelper, Budget, BudgetExceeded, LiteLLMGateway, ModelInfo, Models, Price, Usage
from engine.domain.errors import InvalidInput
from engine.domain.limits import TOPIC
from engine.testing import InMemoryAICallLogger
from engine.testing.fake_ai import FakeAIServer
from engine.testing.fake_ai.chat import Scripted

TEN = Scripted(text="ok", usage={"prompt_tokens": 5, "completion_tokens": 10})


def test_a_resolver_comes_before_registered_models_and_leaves_the_others_to_them(
    log: InMemoryAICallLogger, gateway: LiteLLMGateway, models: Models, fake: FakeAIServer
) -> None:
    mine = ModelInfo(key="chat", id="resolved", provider="openai", price=Price(input=0.0, output=1.0))
    ai = AIHelper("topic", log, gateway, lambda key: mine if key == "chat" else None, models=models)
    fake.say(TEN)
    assert ai.generate_text("chat", "hi").cost == 10.0
    ai.create_child("ticket", "1").generate_text("chat", "hi")
    ai.generate_text("plain", "hi")
    assert [sent["model"] for sent in fake.chats()] == ["resolved", "resolved", "fake-plain"]


@pytest.mark.parametrize("budget", [Budget(max_cost=1.0), Budget(max_tokens=250)])
def test_a_helpers_budget_refuses_before_it_is_sent_also_for_its_children(
    budget: Budget, log: InMemoryAICallLogger, gateway: LiteLLMGateway, models: Models, fake: FakeAIServer
) -> None:
    thirty_cents = ModelInfo(key="dear", id="dear", provider="openai", price=Price(input=0.0, output=0.003))
    models.register({"dear": thirty_cents})
    ai = AIHelper("topic", log, gateway, budget=budget, models=models)
    fake.say(*[Scripted(text="ok", usage={"prompt_tokens": 5, "completion_tokens": 100})] * 4)
    for number in range(3 if budget.max_cost else 2):
        ai.create_child("call", str(number)).generate_text("dear", "hi", max_tokens=100)
    sent = len(fake.chats())
    with pytest.raises(BudgetExceeded, match="it was not sent"):
        ai.create_child("call", "last").generate_text("dear", "hi", max_tokens=100)
    assert len(fake.chats()) == sent
    assert ai.get_stats().tokens == 105 * sent


def test_a_call_made_elsewhere_is_recorded_at_the_price_given_or_known_or_unknown(ai: AIHelper) -> None:
    usage = Usage(input_tokens=100, output_tokens=10)
    assert ai.record_call("chat", usage=usage) == pytest.approx(100e-6 + 20e-6)
    assert ai.record_call("chat", usage=usage, cost=0.5) == 0.5
    assert ai.record_call("priceless", usage=usage) is None
    stats = ai.get_stats()
    assert stats.cost == pytest.approx(0.50012)
    assert (stats.calls, stats.tokens, stats.unknown) == (3, 330, 1)
    assert stats.models["priceless"].unknown == 1


def test_a_topic_that_no_index_holds_is_refused_before_a_call(ai: AIHelper) -> None:
    with pytest.raises(InvalidInput, match=r"^topic '.*…' has 5\d\d characters; use at most 500"):
        ai.create_child("ticket", "x" * TOPIC)
