"""Batches over HTTP: submitted by one process, fetched by another, recorded once."""

import pytest
from pydantic import BaseModel

from engine.ai import AIHelper, BatchAccess, Failed, LiteLLMGateway, Models, Succeeded
from engine.testing import InMemoryAICallLogger
from engine.testing.fake_ai import FakeAIServer


class Note(BaseModel):
    summary: str


ITEMS = [
    {"id": "good", "prompt": "hello", "schema": Note},
    {"id": "bad", "prompt": "please fail", "schema": Note},
]


def helper(fake: FakeAIServer, log: InMemoryAICallLogger, models: Models) -> AIHelper:
    return AIHelper(
        "topic", log, LiteLLMGateway(api_base=fake.url), models=models, batch_access=BatchAccess(base_url=fake.url)
    )


def test_another_process_fetches_checks_and_records_once(
    fake: FakeAIServer, log: InMemoryAICallLogger, models: Models
) -> None:
    handle = helper(fake, log, models).batch("chat").submit(ITEMS, max_tokens=100)
    assert log.get_stats("topic").unsettled == 1
    other = helper(fake, log, models).batch("chat")
    assert other.get_status(handle.id).has_ended
    assert not other.is_recorded(handle.id)
    assert other.get_results(handle.id, schemas=Note) == other.get_results(handle.id, schemas=Note)
    good, bad = other.get_results(handle.id, schemas=Note)
    assert isinstance(good, Succeeded)
    assert isinstance(good.result, Note)
    assert isinstance(bad, Failed)
    assert "would not" in bad.error
    assert other.is_recorded(handle.id)
    stats = log.get_stats("topic")
    full = models.get("chat").price
    assert full is not None
    assert stats.cost == good.cost == pytest.approx(full.of(good.usage) / 2)
    assert (stats.tokens, stats.unsettled, stats.unsettled_cost) == (good.usage.total_tokens, 0, 0.0)


def test_without_schemas_answers_are_text_and_misfits_fail_alone(
    fake: FakeAIServer, log: InMemoryAICallLogger, models: Models
) -> None:
    handle = helper(fake, log, models).batch("chat").submit([{"id": "a", "prompt": "x"}, {"id": "b", "prompt": "y"}])
    other = helper(fake, log, models).batch("chat")
    plain, misfit = other.get_results(handle.id, schemas={"b": Note})
    assert isinstance(plain, Succeeded)
    assert isinstance(plain.result, str)
    assert isinstance(misfit, Failed)
    assert misfit.cost
