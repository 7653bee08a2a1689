"""Batches of each provider over HTTP, in the provider's own format."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from pydantic import BaseModel

from engine.ai import (
    AICallFailed,
    AICallRefused,
    AIHelper,
    BatchAccess,
    BatchProvider,
    BatchState,
    Failed,
    FilePart,
    LiteLLMGateway,
    ModelInfo,
    Models,
    Succeeded,
    Usage,
)
from engine.ai.providers.anthropic import AnthropicBatches
from engine.ai.providers.batch_provider import BatchAnswer, BatchRequest, BatchStatus
from engine.ai.providers.google import GoogleBatches
from engine.ai.providers.openai import OpenAIBatches
from engine.domain.errors import InvalidInput, SettingsError
from engine.testing import InMemoryAICallLogger
from engine.testing.fake_ai import FakeAIServer
from engine.testing.fake_ai.anthropic_batches import CACHED, WRITTEN
from engine.testing.fake_ai.google_batches import THOUGHT_TOKENS
from engine.testing.fake_ai.invented import count_tokens
from tests.ai.conftest import PRICE

NAMES = ("anthropic", "google", "openai")
HALF = PRICE.scaled(0.5)
USED = Usage(input_tokens=5, output_tokens=4)


class Note(BaseModel):
    summary: str


def provider_of(name: str, fake: FakeAIServer, key: str = "key") -> BatchProvider:
    match name:
        case "anthropic":
            return AnthropicBatches(key, fake.url)
        case "google":
            return GoogleBatches(key, fake.google_url)
        case _:
            return OpenAIBatches(key, fake.url)


@pytest.fixture(params=NAMES)
def provider(request: pytest.FixtureRequest, fake: FakeAIServer) -> BatchProvider:
    return provider_of(request.param, fake)


def test_answers_are_checked_and_recorded_at_half_the_price_with_each_items_error(
    provider: BatchProvider, ai: AIHelper
) -> None:
    items: list[Mapping[str, Any]] = [
        {"id": "typed", "prompt": "hello there", "schema": Note},
        {"id": "bad", "prompt": "please fail", "schema": Note},
        {"id": "files", "prompt": ["look", FilePart(b"png", "image/png"), FilePart(b"pdf", "application/pdf")]},
    ]
    handle = ai.batch("chat", provider).submit(items, max_tokens=100, temperature=0.2)
    other = ai.batch("chat", provider)
    status = other.get_status(handle.id)
    assert (status.state, status.total, status.succeeded, status.failed) == (BatchState.COMPLETED, 3, 2, 1)
    results = {each.id: each for each in other.get_results(handle.id, schemas={"typed": Note, "bad": Note})}
    typed, bad, files = results["typed"], results["bad"], results["files"]
    assert isinstance(typed, Succeeded)
    assert isinstance(typed.result, Note)
    assert isinstance(files, Succeeded)
    assert isinstance(files.result, str)
    assert isinstance(bad, Failed)
    assert "the model would not" in bad.error
    assert bad.cost == 0.0
    assert typed.cost == pytest.approx(HALF.of(typed.usage))
    assert typed.usage.input_tokens > 0
    assert typed.usage.output_tokens > 0
    stats = ai.get_stats()
    assert stats.cost == pytest.approx(HALF.of(typed.usage) + HALF.of(files.usage))
    assert (stats.tokens, stats.unsettled) == (typed.usage.total_tokens + files.usage.total_tokens, 0)
    other.get_results(handle.id)
    assert ai.get_stats() == stats


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_that_is_not_done_says_so(name: str, log: InMemoryAICallLogger, models: Models) -> None:
    with FakeAIServer(batch_seconds=60) as slow:
        ai = AIHelper("topic", log, LiteLLMGateway(api_base=slow.url), models=models)
        batch = ai.batch("chat", provider_of(name, slow))
        handle = batch.submit([{"id": "a", "prompt": "hi"}], max_tokens=10)
        assert batch.get_status(handle.id).state is BatchState.IN_PROGRESS
        with pytest.raises(AICallFailed, match="not done yet"):
            batch.get_results(handle.id)
    assert (log.get_stats("topic").unsettled, batch.is_recorded(handle.id)) == (1, False)


@pytest.mark.parametrize("name", ["anthropic", "google"])
def test_a_batch_that_is_refused_costs_nothing(name: str, ai: AIHelper, fake: FakeAIServer) -> None:
    with pytest.raises(AICallRefused, match=f"{name} answered 40[13]"):
        ai.batch("chat", provider_of(name, fake, key="")).submit([{"id": "a", "prompt": "hi"}], max_tokens=10)
    stats = ai.get_stats()
    assert (stats.calls, stats.cost, stats.unknown, stats.unsettled, stats.unsettled_cost) == (1, 0.0, 0, 0, 0.0)


def test_anthropics_tokens_include_those_read_from_the_cache(ai: AIHelper, fake: FakeAIServer) -> None:
    batch = ai.batch("chat", provider_of("anthropic", fake))
    (answer,) = batch.get_results(batch.submit([{"id": "a", "prompt": "hi"}]).id)
    assert answer.usage.cached_tokens == CACHED
    asked = count_tokens('[{"role": "user", "content": "hi"}]')
    assert answer.usage.input_tokens == asked + CACHED + WRITTEN


def test_googles_thoughts_are_paid_for_and_are_not_the_answer(ai: AIHelper, fake: FakeAIServer) -> None:
    batch = ai.batch("chat", provider_of("google", fake))
    (answer,) = batch.get_results(batch.submit([{"id": "a", "prompt": "hi"}]).id)
    assert answer.usage.reasoning_tokens == THOUGHT_TOKENS
    assert answer.usage.output_tokens == count_tokens(answer.text) + THOUGHT_TOKENS
    assert "let me think" not in answer.text


class Expired:
    """One item was answered before the batch's time was up; providers charge for it."""

    def submit(self, _requests: Sequence[BatchRequest]) -> str:
        return "expired-1"

    def status(self, batch_id: str) -> BatchStatus:
        return BatchStatus(batch_id=batch_id, state=BatchState.EXPIRED, error="too late")

    def results(self, _batch_id: str) -> Sequence[BatchAnswer]:
        return [BatchAnswer(id="a", text="yes", usage=USED), BatchAnswer(id="b", error="expired")]


def test_the_answers_of_an_expired_batch_are_recorded(ai: AIHelper) -> None:
    batch = ai.batch("chat", Expired())
    handle = batch.submit([{"id": "a", "prompt": "hi"}, {"id": "b", "prompt": "ho"}], max_tokens=10)
    with pytest.raises(AICallFailed, match="expired: too late"):
        batch.get_results(handle.id)
    assert batch.is_recorded(handle.id)
    stats = ai.get_stats()
    assert stats.cost == pytest.approx(HALF.of(USED))
    assert (stats.tokens, stats.unsettled) == (9, 0)


@pytest.mark.parametrize(
    ("listed", "name", "made"),
    [
        ("anthropic", None, AnthropicBatches),
        ("gemini", None, GoogleBatches),
        ("openai", None, OpenAIBatches),
        ("voyage", "openai", OpenAIBatches),
    ],
)
def test_a_models_provider_says_whose_batches_it_has(listed: str, name: str | None, made: type) -> None:
    access = BatchAccess(keys={"anthropic": "a", "google": "g", "openai": "o"})
    model = ModelInfo(key="m", id="m", provider=listed)
    assert isinstance(access.provider(model, name), made)


def test_without_batches_or_without_a_key_it_is_said_which_is_missing() -> None:
    with pytest.raises(InvalidInput, match="'m' of voyage has no batches"):
        BatchAccess().provider(ModelInfo(key="m", id="m", provider="voyage"), None)
    with pytest.raises(SettingsError, match="need GEMINI_API_KEY"):
        BatchAccess().provider(ModelInfo(key="m", id="m", provider="gemini"), None)
