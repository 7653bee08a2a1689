"""Embeddings from a model, or from a registered provider."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from engine.ai.call_ledger import CallContext, CallSpec, Draft, execute_call
from engine.ai.messages import EmbedAnswer, EmbedRequest
from engine.ai.model_info import Price, Usage
from engine.domain.values import Json


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
    """A function that embeds texts. It may be async. With `EmbedAnswer.usage` None the engine counts the tokens."""

    def embed(self, request: EmbedRequest) -> Any: ...


_PROVIDERS: dict[str, Callable[[str], EmbeddingProvider]] = {}


def register_embedding_provider(name: str, factory: Callable[[str], EmbeddingProvider]) -> None:
    """Registers a factory of embedders for models whose `provider` is `name`. It gets the model's id."""
    _PROVIDERS[name] = factory


async def embed_texts(context: CallContext, model_key: str, texts: Sequence[str], options: EmbedOptions) -> EmbedResult:
    """Embeds all texts in one request."""
    request = EmbedRequest(
        model=context.model(model_key),
        texts=tuple(texts),
        dimensions=options.dimensions,
        timeout=options.timeout,
        options=options.provider_options,
    )
    bound = Usage(input_tokens=await context.gateway.count_tokens(request.texts))

    async def measure(_answer: EmbedAnswer) -> Usage:
        return bound

    draft = Draft(
        call_type="embed",
        model=request.model,
        document=request.document(),
        bound=bound,
        price=options.price or request.model.price,
    )
    spec = CallSpec(
        send=lambda: _send(context, request),
        document=_document,
        read=_read,
        measure=measure,
        max_retries=options.max_retries,
    )
    billed = await execute_call(context, draft, spec)
    return EmbedResult(embeddings=billed.answer.vectors, usage=billed.usage, cost=billed.cost)


async def _send(context: CallContext, request: EmbedRequest) -> EmbedAnswer:
    factory = _PROVIDERS.get(request.model.provider)
    if factory is None:
        return await context.gateway.embed(request)
    answer = factory(request.model.id).embed(request)
    given: EmbedAnswer = await answer if inspect.isawaitable(answer) else answer
    return replace(given, vectors=tuple(tuple(vector) for vector in given.vectors))


def _document(answer: EmbedAnswer) -> dict[str, Json]:
    return {"vectors": [list(vector) for vector in answer.vectors]}


def _read(document: Mapping[str, Any], usage: Usage) -> EmbedAnswer:
    return EmbedAnswer(vectors=tuple(tuple(vector) for vector in document["vectors"]), usage=usage)
