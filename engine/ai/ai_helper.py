"""`ctx.ai`: models for stage bodies, with every call in the ledger."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from functools import partial, wraps
from typing import Any, Concatenate
from uuid import uuid4

from engine.ai.batches import AsyncBatch
from engine.ai.budget import CallSite, cap_of
from engine.ai.call_ledger import CallContext, Replays, Resolver, blank_record
from engine.ai.content import ContentPolicy
from engine.ai.embeddings import EmbedOptions, EmbedResult, embed_texts
from engine.ai.event_loop import run_now, shielded
from engine.ai.messages import Gateway, Message, Prompt
from engine.ai.model_info import Price, Usage
from engine.ai.models import MODELS, Models
from engine.ai.objects import ObjectResult, generate_typed, with_output
from engine.ai.providers.batch_provider import BatchProvider
from engine.ai.providers.choice import BatchAccess
from engine.ai.streams import OnChunk, TextStream
from engine.ai.text import ChatOptions, OnStep, TextResult, chat_request, first_messages, generate, tool_use
from engine.ai.tool_calls import Tool
from engine.definition.budget import Budget
from engine.domain.ai_calls import CallState
from engine.domain.limits import TOPIC, check_length
from engine.domain.values import Json
from engine.ports.ai_call_logger import AICallLogger, TopicStats


class AsyncAI:
    """The helper for `async def` bodies: `await ctx.ai.aio.generate_text(…)`. `AIHelper` has blocking methods."""

    def __init__(self, context: CallContext, batch_access: BatchAccess) -> None:
        self._context, self._batch_access = context, batch_access

    async def generate_text(
        self,
        model: str,
        prompt: Prompt,
        *,
        instructions: str | None = None,
        temperature: float | None = 0.7,
        max_tokens: int | None = None,
        max_retries: int = 2,
        timeout: float | None = None,  # noqa: ASYNC109 — seconds for each request, not for the call as a whole
        tools: Sequence[Callable[..., Any] | Tool] = (),
        tool_choice: Json = None,
        max_steps: int = 5,
        on_step: OnStep | None = None,
        output: Any = None,
        provider_options: Mapping[str, Any] | None = None,
        price: Price | None = None,
    ) -> TextResult:
        """Generates text. The model may call `tools` in up to `max_steps` rounds.

        `prompt` is text or parts; `timeout` is in seconds, for each request. A failed request is sent again up to
        `max_retries` times. `output` is a type that the last answer has to fit. `price` is for models without a known
        price. Raises `BudgetExceeded`, `AICallFailed` and, with `output`, `AIOutputError`.
        """
        info = self._context.model(model)
        options = ChatOptions(
            temperature=temperature,
            max_tokens=max_tokens,
            max_retries=max_retries,
            timeout=timeout,
            price=price,
            provider_options=provider_options or {},
        )
        use = tool_use(tools, tool_choice, max_steps, on_step)
        messages = first_messages(prompt, instructions)
        if output is not None:
            return await with_output(self._context, info, messages, options, use, output=output)
        return await generate(self._context, info, messages, options, use)

    async def generate_object[T](
        self,
        model: str,
        prompt: Prompt,
        schema: type[T],
        *,
        instructions: str | None = None,
        temperature: float | None = 0.7,
        max_tokens: int | None = None,
        max_retries: int = 2,
        timeout: float | None = None,  # noqa: ASYNC109 — seconds for each request, not for the call as a whole
        provider_options: Mapping[str, Any] | None = None,
        price: Price | None = None,
    ) -> ObjectResult[T]:
        """Generates an object of the schema. The model may repair its answer once; then `AIOutputError` is raised."""
        options = ChatOptions(
            temperature=temperature,
            max_tokens=max_tokens,
            max_retries=max_retries,
            timeout=timeout,
            price=price,
            provider_options=provider_options or {},
        )
        messages = first_messages(prompt, instructions)
        return await generate_typed(self._context, self._context.model(model), messages, schema, options)

    async def embed(
        self,
        model: str,
        texts: str | Sequence[str],
        *,
        dimensions: int | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 — seconds for each request, not for the call as a whole
        max_retries: int = 2,
        provider_options: Mapping[str, Any] | None = None,
        price: Price | None = None,
    ) -> EmbedResult:
        """Gives a vector for each text, in one request."""
        options = EmbedOptions(
            dimensions=dimensions,
            timeout=timeout,
            max_retries=max_retries,
            price=price,
            provider_options=provider_options or {},
        )
        return await embed_texts(self._context, model, [texts] if isinstance(texts, str) else texts, options)

    def stream_text(
        self,
        model: str,
        prompt: Prompt | None = None,
        *,
        messages: Sequence[Message] | None = None,
        instructions: str | None = None,
        on_chunk: OnChunk | None = None,
        temperature: float | None = 0.7,
        max_tokens: int | None = None,
        timeout: float | None = None,
        provider_options: Mapping[str, Any] | None = None,
        price: Price | None = None,
    ) -> TextStream:
        """Streams the answer. Give a `prompt`, or `messages` in the form of OpenAI's chat API."""
        info = self._context.model(model)
        options = ChatOptions(
            temperature=temperature, max_tokens=max_tokens, timeout=timeout, provider_options=provider_options or {}
        )
        asked = [*first_messages(prompt or "", instructions)[: None if prompt is not None else -1], *(messages or ())]
        return TextStream(self._context, chat_request(info, asked, options), price or info.price, on_chunk)

    def batch(
        self, model: str, provider: str | BatchProvider | None = None, *, price: Price | None = None
    ) -> AsyncBatch:
        """A batch of requests at half the price. `provider`: anthropic, google or openai; by default the model's."""
        info = self._context.model(model)
        if not isinstance(provider, str | None):
            return AsyncBatch(self._context, info, provider, price)
        return AsyncBatch(self._context, info, self._batch_access.provider(info, provider), price)

    async def record_call(
        self,
        model: str,
        *,
        usage: Usage,
        prompt: Json = None,
        response: Json = None,
        call_type: str = "manual",
        cost: float | None = None,
        duration_ms: int | None = None,
        metadata: Mapping[str, Json] | None = None,
    ) -> float | None:
        """Records a call that was made by other means. Gives its cost; by default it follows from the model's price."""
        info = self._context.model(model)
        if cost is None and info.price is not None:
            cost = info.price.of(usage)
        record = replace(
            blank_record(self._context, call_type, info),
            state=CallState.SETTLED,
            prompt=self._context.content.kept(prompt) if prompt is not None else None,
            response=self._context.content.kept(response) if response is not None else None,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cached_tokens=usage.cached_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            cost=cost,
            duration_ms=duration_ms,
            metadata=metadata,
        )
        await shielded(self._context.log.log_call, record)
        return cost

    async def get_stats(self) -> TopicStats:
        """The calls, tokens and cost of this topic and its subtopics, in total and by model."""
        return await asyncio.to_thread(self._context.log.get_stats, self._context.topic)


type _Async[S, **P, R] = Callable[Concatenate[S, P], Coroutine[Any, Any, R]]


def _of_ai[**P, R](method: _Async[AsyncAI, P, R]) -> Callable[Concatenate["AIHelper", P], R]:
    @wraps(method)
    def call(self: "AIHelper", /, *args: P.args, **kwargs: P.kwargs) -> R:
        return run_now(partial(method, self.aio, *args, **kwargs))

    return call


def _of_batch[**P, R](method: _Async[AsyncBatch, P, R]) -> Callable[Concatenate["Batch", P], R]:
    @wraps(method)
    def call(self: "Batch", /, *args: P.args, **kwargs: P.kwargs) -> R:
        return run_now(partial(method, self.aio, *args, **kwargs))

    return call


class Batch:
    """`AsyncBatch` with blocking methods."""

    def __init__(self, aio: AsyncBatch) -> None:
        self.aio = aio

    submit = _of_batch(AsyncBatch.submit)
    get_status = _of_batch(AsyncBatch.get_status)
    get_results = _of_batch(AsyncBatch.get_results)
    is_recorded = _of_batch(AsyncBatch.is_recorded)


class AIHelper:
    """Calls models under one topic. Its methods block; `aio` has the same ones for `async def` bodies.

    `resolver` maps a key to a model, before registered and listed models are looked up. `budget` caps the spending
    under the topic. Inside a run, `ctx.ai` is a helper bound to the stage and to the budgets of stage and workflow.
    """

    def __init__(
        self,
        topic: str,
        call_logger: AICallLogger,
        gateway: Gateway,
        resolver: Resolver | None = None,
        budget: Budget | None = None,
        *,
        site: CallSite | None = None,
        content: ContentPolicy = ContentPolicy.FULL,
        batch_access: BatchAccess | None = None,
        models: Models = MODELS,
        new_id: Callable[[], str] = lambda: str(uuid4()),
        replays: Replays | None = None,
    ) -> None:
        check_length("topic", topic, TOPIC)
        at = site or CallSite(scope=topic)
        if budget is not None and at.scope is not None:
            at = replace(at, caps=(*at.caps, *cap_of(at.scope, budget)))
        context = CallContext(
            topic=topic,
            site=at,
            log=call_logger,
            gateway=gateway,
            new_id=new_id,
            models=models,
            resolver=resolver,
            content=content,
            replays=replays or Replays(),
        )
        self._context, self._batch_access = context, batch_access or BatchAccess()
        self.aio = AsyncAI(context, self._batch_access)

    @property
    def topic(self) -> str:
        return self._context.topic

    generate_text = _of_ai(AsyncAI.generate_text)
    generate_object = _of_ai(AsyncAI.generate_object)
    embed = _of_ai(AsyncAI.embed)
    record_call = _of_ai(AsyncAI.record_call)
    get_stats = _of_ai(AsyncAI.get_stats)

    def stream_text(self, model: str, prompt: Prompt | None = None, **options: Any) -> TextStream:
        """Streams the answer. `AsyncAI.stream_text` describes the options."""
        return self.aio.stream_text(model, prompt, **options)

    def batch(self, model: str, provider: str | BatchProvider | None = None, *, price: Price | None = None) -> Batch:
        """A batch of requests at half the price. `provider`: anthropic, google or openai; by default the model's."""
        return Batch(self.aio.batch(model, provider, price=price))

    def create_child(self, segment: str, id: str) -> "AIHelper":  # noqa: A002 — a parameter of the public API
        """A helper with the subtopic `{topic}.{segment}.{id}`. Its calls count in both topics."""
        context = self._context
        return AIHelper(
            f"{self.topic}.{_segment(segment)}.{_segment(id)}",
            context.log,
            context.gateway,
            context.resolver,
            site=context.site,
            content=context.content,
            batch_access=self._batch_access,
            models=context.models,
            new_id=context.new_id,
            replays=context.replays,
        )


def _segment(text: str) -> str:
    """Replaces the dots, which separate segments."""
    return text.replace(".", "_")
