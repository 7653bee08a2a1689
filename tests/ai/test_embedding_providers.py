"""Models that embed by themselves do not go through litellm; their calls are recorded like all others."""

import pytest

from engine.ai import (
    AIHelper,
    EmbedAnswer,
    EmbedRequest,
    ModelInfo,
    Models,
    Price,
    Usage,
    embeddings,
    register_embedding_provider,
)
from engine.testing.fake_ai import FakeAIServer


class Lengths:
    """Embeds a text as its length. With `usage` None it reports no tokens."""

    def __init__(self, model_id: str, usage: Usage | None) -> None:
        self.model_id, self.usage = model_id, usage

    def embed(self, request: EmbedRequest) -> EmbedAnswer:
        assert self.model_id == request.model.id == "by-length"
        return EmbedAnswer(vectors=tuple((float(len(text)),) for text in request.texts), usage=self.usage)


class AsyncLengths(Lengths):
    async def embed(self, request: EmbedRequest) -> EmbedAnswer:  # type: ignore[override] # a provider may be async
        return super().embed(request)


@pytest.fixture(autouse=True)
def own_model(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "_PROVIDERS", {})
    price = Price(input=0.01)
    models.register({"own": ModelInfo(key="own", id="by-length", provider="mine", mode="embedding", price=price)})


@pytest.mark.parametrize("kind", [Lengths, AsyncLengths])
def test_a_registered_provider_embeds_and_is_paid(kind: type[Lengths], ai: AIHelper, fake: FakeAIServer) -> None:
    register_embedding_provider("mine", lambda model_id: kind(model_id, Usage(input_tokens=7)))
    result = ai.embed("own", ["a", "bcd"])
    assert result.embeddings == ((1.0,), (3.0,))
    assert fake.requests == []
    assert (ai.get_stats().tokens, ai.get_stats().cost, result.cost) == (7, 0.07, 0.07)


def test_one_that_says_nothing_of_tokens_is_measured_here(ai: AIHelper) -> None:
    register_embedding_provider("mine", lambda model_id: Lengths(model_id, None))
    result = ai.embed("own", "a sentence of several words")
    assert result.usage.input_tokens > 5
    assert ai.get_stats().tokens == result.usage.input_tokens
