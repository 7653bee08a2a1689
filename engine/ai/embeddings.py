"""Vectors from a model, or from a provider of one's own."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from engine.ai.books import Desk, Draft, Sending, pay
from engine.ai.messages import EmbedAnswer, EmbedRequest
from engine.ai.model_info import Price, Usage
from engine.domain.stored_value import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedResult:
    """A vector for each text, in order; `embedding` is the first."""

    embeddings: tuple[tuple[float, ...], ...]
    usage: Usage
    cost: float | None

    @property
    def embedding(self) -> tuple[float, ...]:
        return self.embeddings[0]

    @property
    def dimensions(self) -> int:
        return len(self.embedding)


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedOptions:
    dimensions: int | None = None
    timeout: float | None = None
    max_retries: int = 2
    price: Price | None = None
    provider_options: Mapping[str, Any] = field(default_factory=dict)


class EmbeddingProvider(Protocol):
    """Embeds by itself. May be async. `EmbedAnswer.usage` None: tokens are counted here."""

    def embed(self, request: EmbedRequest) -> Any: ...


_PROVIDERS: dict[str, Callable[[str], EmbeddingProvider]] = {}


def register_embedding_provider(name: str, factory: Callable[[str], EmbeddingProvider]) -> None:
    """Models whose `provider` is `name` are embedded by what the factory makes of the model's id."""
    _PROVIDERS[name] = factory


async def embed_texts(desk: Desk, model_key: str, texts: Sequence[str], options: EmbedOptions) -> EmbedResult:
    """One round trip for all of them."""
    request = EmbedRequest(
        model=desk.model(model_key),
        texts=tuple(texts),
        dimensions=options.dimensions,
        timeout=options.timeout,
        options=options.provider_options,
    )
    bound = Usage(input_tokens=await desk.gateway.count_tokens(request.texts))

    async def measure(_answer: EmbedAnswer) -> Usage:
        return bound

    draft = Draft(
        call_type="embed",
        model=request.model,
        document=request.document(),
        bound=bound,
        price=options.price or request.model.price,
    )
    sending = Sending(
        send=lambda: _send(desk, request),
        document=_document,
        read=_read,
        measure=measure,
        max_retries=options.max_retries,
    )
    paid = await pay(desk, draft, sending)
    return EmbedResult(embeddings=paid.answer.vectors, usage=paid.usage, cost=paid.cost)


async def _send(desk: Desk, request: EmbedRequest) -> EmbedAnswer:
    factory = _PROVIDERS.get(request.model.provider)
    if factory is None:
        return await desk.gateway.embed(request)
    answer = factory(request.model.id).embed(request)
    given: EmbedAnswer = await answer if inspect.isawaitable(answer) else answer
    return replace(given, vectors=tuple(tuple(vector) for vector in given.vectors))


def _document(answer: EmbedAnswer) -> dict[str, Json]:
    return {"vectors": [list(vector) for vector in answer.vectors]}


def _read(document: Mapping[str, Any], usage: Usage) -> EmbedAnswer:
    return EmbedAnswer(vectors=tuple(tuple(vector) for vector in document["vectors"]), usage=usage)
