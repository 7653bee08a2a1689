"""Streamed text from a model."""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Self

from engine.ai.budget import chat_bound, texts_to_count
from engine.ai.call_ledger import CallContext, Draft, OpenCall, draft_record, open_call, replayed, usage_of
from engine.ai.event_loop import run_now
from engine.ai.messages import ChatAnswer, ChatRequest, Chunk, ChunkStream
from engine.ai.model_info import Price, Usage
from engine.ai.telemetry import call_span, note_answer, note_failure, note_request
from engine.domain.errors import AICallFailed

type OnChunk = Callable[[str], Awaitable[None] | None]


@dataclass(slots=True)
class StreamAccumulator:
    """Collects the chunks of a stream."""

    texts: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    finish_reason: str | None = None
    usage: Usage | None = None

    def add(self, chunk: Chunk) -> None:
        self.texts.append(chunk.text)
        self.reasoning.append(chunk.reasoning)
        self.finish_reason = chunk.finish_reason or self.finish_reason
        self.usage = chunk.usage or self.usage

    def answer(self) -> ChatAnswer:
        return ChatAnswer(
            text="".join(self.texts),
            reasoning="".join(self.reasoning),
            finish_reason=self.finish_reason or "stopped",
            usage=self.usage,
        )


class TextStream:
    """Iterates over the answer's text, by `async for` or `for`. The first iteration sends the request.

    If you may stop before the end, use it in a `with` (or `async with`), or call `close` / `aclose`: the call is
    settled then, with the provider's usage or with a count of the received text. Otherwise it is settled when the
    stream is garbage collected.
    """

    def __init__(
        self, context: CallContext, request: ChatRequest, price: Price | None, on_chunk: OnChunk | None
    ) -> None:
        self._context, self._request, self._price, self._on_chunk = context, request, price, on_chunk
        self._accumulated, self._counted = StreamAccumulator(), 0
        self._call: OpenCall | None = None
        self._chunks: ChunkStream | None = None
        self._given: Iterator[str] | None = None
        self._ended, self._usage = False, Usage()
        self._cost: float | None = None

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        text = await self._next()
        if text is None:
            raise StopAsyncIteration
        return text

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        text = run_now(self._next)
        if text is None:
            raise StopIteration
        return text

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def __del__(self) -> None:
        if self._call is not None and not self._ended:
            self.close()

    async def aclose(self) -> None:
        """Stops reading and settles the call with the received text."""
        if self._chunks is not None and not self._ended:
            await self._chunks.close()
        await self._end()

    def close(self) -> None:
        run_now(self.aclose)

    async def aget_text(self) -> str:
        """The whole text. Reads the rest of the stream."""
        async for _ in self:
            pass
        return self._accumulated.answer().text

    def get_text(self) -> str:
        return run_now(self.aget_text)

    async def aget_reasoning(self) -> str:
        await self.aget_text()
        return self._accumulated.answer().reasoning

    def get_reasoning(self) -> str:
        return run_now(self.aget_reasoning)

    async def aget_usage(self) -> Usage:
        await self.aget_text()
        return self._usage

    def get_usage(self) -> Usage:
        return run_now(self.aget_usage)

    @property
    def cost(self) -> float | None:
        """The cost in US dollars after the end; None when it is unknown."""
        return self._cost

    async def _next(self) -> str | None:
        if self._ended:
            return None
        if self._call is None and self._given is None:
            await self._begin()
        while True:
            chunk = await self._listen()
            if chunk is None:
                await self._end()
                return None
            self._accumulated.add(chunk)
            if chunk.text:
                result = self._on_chunk(chunk.text) if self._on_chunk else None
                if inspect.isawaitable(result):
                    await result
                return chunk.text

    async def _begin(self) -> None:
        request, context = self._request, self._context
        self._counted = await context.gateway.count_tokens(texts_to_count(request))
        draft = Draft(
            call_type="stream",
            model=request.model,
            document=request.document(),
            bound=chat_bound(request, self._counted),
            price=self._price,
        )
        record = draft_record(context, draft)
        earlier = await replayed(context, record)
        if earlier is not None and isinstance(earlier.response, dict):
            self._cost, self._usage = earlier.cost, usage_of(earlier)
            answer = ChatAnswer.read(earlier.response, self._usage)
            self._accumulated.reasoning.append(answer.reasoning)
            self._given = iter([answer.text] if answer.text else [])
            return
        self._call = await open_call(context, draft, record)
        try:
            self._chunks = await context.gateway.stream(request)
        except AICallFailed as error:
            await self._fail(error)
            raise

    async def _listen(self) -> Chunk | None:
        if self._given is not None:
            text = next(self._given, None)
            return None if text is None else Chunk(text=text)
        assert self._chunks is not None, "a stream that has begun has chunks"
        try:
            return await self._chunks.next()
        except AICallFailed as error:
            # The provider charges for the text it had sent.
            await (self._end(error) if any(self._accumulated.texts) else self._fail(error))
            raise

    async def _fail(self, error: AICallFailed) -> None:
        self._ended = True
        assert self._call is not None
        with call_span("stream", self._request.model, self._context.topic) as span:
            note_failure(span, error)
        await self._call.fail(error)

    async def _end(self, error: AICallFailed | None = None) -> None:
        if self._ended:
            return
        self._ended = True
        if self._call is None:
            return
        answer = self._accumulated.answer()
        usage = answer.usage or await self._estimate(answer)
        notes = {"error": str(error)} if error else None
        with call_span("stream", self._request.model, self._context.topic) as span:
            note_request(span, self._request.temperature, self._request.max_tokens)
            self._cost = await self._call.settle(answer.document(), usage, notes)
            self._usage = usage
            note_answer(span, usage, self._cost, [answer.finish_reason])

    async def _estimate(self, answer: ChatAnswer) -> Usage:
        counted = await self._context.gateway.count_tokens([answer.reasoning, answer.text])
        return replace(Usage(input_tokens=self._counted, output_tokens=counted), estimated=True)
