"""The ledger of model calls. A call is reserved, sent and settled; answers of earlier attempts are replayed.

The race: calls of one run are sent at the same time, and together could exceed its budget; and the process may die
between a call and its record. So the upper bound of the cost is reserved in the store before the call is sent: a cap
counts open calls too, and a call whose answer is lost stays visible as a reservation. `settle` replaces the reservation
by the cost, in one transaction. Both writes are shielded: a cancelled caller waits for them, so no answer that was paid
for is lost. The next attempt gets the stored answer to the same request and does not pay again."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from engine.ai.budget import CallSite
from engine.ai.content import ContentPolicy, is_whole, sha256_of
from engine.ai.event_loop import shielded
from engine.ai.messages import CancelledUnsent, Gateway
from engine.ai.model_info import ModelInfo, Price, Usage
from engine.ai.models import MODELS, Models
from engine.ai.telemetry import call_span, note_answer, note_failure, note_request
from engine.domain.ai_calls import AICallRecord, CallState
from engine.domain.errors import AICallFailed, AICallRefused
from engine.domain.values import Json, plain
from engine.ports.ai_call_logger import AICallLogger

FIRST_WAIT = 0.5
LONGEST_WAIT = 20.0

type Resolver = Callable[[str], ModelInfo | None]
"""Maps a key to a model. None means: look the key up among registered and listed models."""


@dataclass(slots=True)
class Replays:
    """Counts each request in this attempt. Its n-th occurrence is answered by the n-th of an earlier attempt."""

    seen: Counter[str] = field(default_factory=Counter)

    def next(self, request_hash: str) -> int:
        self.seen[request_hash] += 1
        return self.seen[request_hash] - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CallContext:
    """The settings that all calls under one topic share."""

    topic: str
    site: CallSite
    log: AICallLogger
    gateway: Gateway
    new_id: Callable[[], str]
    models: Models = MODELS
    resolver: Resolver | None = None
    content: ContentPolicy = ContentPolicy.FULL
    replays: Replays = field(default_factory=Replays)

    def model(self, key: str) -> ModelInfo:
        """Raises `AICallRefused` for a retired model."""
        resolved = self.resolver(key) if self.resolver else None
        return resolved or self.models.get(key)

    def under(self, topic: str) -> "CallContext":
        return replace(self, topic=topic)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A call before it is sent. `document` identifies the request; `bound` is the most tokens it may use."""

    call_type: str
    model: ModelInfo
    document: Mapping[str, Json]
    bound: Usage
    price: Price | None
    temperature: float | None = None
    max_tokens: int | None = None


class Answer(Protocol):
    @property
    def usage(self) -> Usage | None: ...


@dataclass(frozen=True, slots=True)
class BilledAnswer[A]:
    """An answer with its usage and cost; `cost` None is unknown."""

    answer: A
    usage: Usage
    cost: float | None
    replayed: bool = False


def blank_record(context: CallContext, call_type: str, model: ModelInfo) -> AICallRecord:
    """A record with the call's place filled in. The store replaces its times when it is written."""
    site, now = context.site, datetime.now(UTC)
    return AICallRecord(
        id=context.new_id(),
        topic=context.topic,
        call_type=call_type,
        model_key=model.key,
        model_id=model.id,
        provider=model.provider,
        state=CallState.RESERVED,
        created_at=now,
        updated_at=now,
        workflow_run_id=site.workflow_run_id,
        stage_record_id=site.stage_record_id,
        stage_id=site.stage_id,
        generation=site.generation,
        attempt=site.attempt,
        scope=site.scope,
    )


def draft_record(context: CallContext, draft: Draft) -> AICallRecord:
    document = {"type": draft.call_type, **draft.document}
    return replace(
        blank_record(context, draft.call_type, draft.model),
        prompt=context.content.kept(draft.document),
        request_hash=sha256_of(document),
        reserved_cost=None if draft.price is None else draft.price.of(draft.bound),
        reserved_tokens=draft.bound.total_tokens,
    )


@dataclass(slots=True)
class OpenCall:
    """A reserved call. Either `settle` or `fail` ends it; after a crash it stays reserved."""

    context: CallContext
    draft: Draft
    record: AICallRecord
    begun: float

    async def settle(self, response: Json, usage: Usage, metadata: Mapping[str, Json] | None = None) -> float | None:
        """Gives the cost."""
        cost = None if self.draft.price is None else self.draft.price.of(usage)
        notes = {**(metadata or {}), **({"estimated": True} if usage.estimated else {})}
        settled = replace(
            self.record,
            state=CallState.SETTLED,
            response=self.context.content.kept(response),
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cached_tokens=usage.cached_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            cost=cost,
            duration_ms=self._duration_ms(),
            metadata=notes or None,
        )
        await shielded(self.context.log.settle, settled)
        return cost

    async def fail(self, error: BaseException) -> None:
        """The cost is 0, or unknown if the provider may have answered: then the reservation stays."""
        if isinstance(error, AICallFailed):
            may_be_charged = error.may_be_charged
        else:
            may_be_charged = not isinstance(error, CancelledUnsent)
        failed = replace(
            self.record,
            state=CallState.FAILED,
            cost=None if may_be_charged else 0.0,
            duration_ms=self._duration_ms(),
            error=plain(f"{type(error).__name__}: {error}"),
        )
        await shielded(self.context.log.settle, failed)

    def _duration_ms(self) -> int:
        return round((time.monotonic() - self.begun) * 1000)


async def open_call(context: CallContext, draft: Draft, record: AICallRecord | None = None) -> OpenCall:
    """Reserves the call. Raises `BudgetExceeded`: then nothing is written, and nothing may be sent."""
    context.site.check_price(draft.model, draft.price)
    record = record or draft_record(context, draft)
    call = OpenCall(context, draft, record, time.monotonic())
    try:
        await shielded(context.log.reserve, record, context.site.caps)
    except asyncio.CancelledError:
        await call.fail(CancelledUnsent())  # no effect if nothing was reserved
        raise
    return call


async def replayed(context: CallContext, record: AICallRecord) -> AICallRecord | None:
    """The call of an earlier attempt in this generation that answers this request, if its answer was stored."""
    turn = context.replays.next(record.request_hash or "")
    if record.workflow_run_id is None or record.attempt <= 1:
        return None
    earlier = await asyncio.to_thread(context.log.answered_before, record)
    return earlier[turn] if turn < len(earlier) and is_whole(earlier[turn].response) else None


def usage_of(record: AICallRecord) -> Usage:
    return Usage(
        input_tokens=record.input_tokens,
        output_tokens=record.output_tokens,
        cached_tokens=record.cached_tokens,
        reasoning_tokens=record.reasoning_tokens,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSpec[A]:
    """The functions of one kind of call: send it, turn its answer into a document and back, and count its usage."""

    send: Callable[[], Awaitable[A]]
    document: Callable[[A], dict[str, Json]]
    read: Callable[[Mapping[str, Any], Usage], A]
    measure: Callable[[A], Awaitable[Usage]]
    max_retries: int = 0


async def execute_call[A: Answer](context: CallContext, draft: Draft, spec: CallSpec[A]) -> BilledAnswer[A]:
    """Makes a call with its retries, each recorded as a call of its own; or replays an earlier attempt's answer."""
    record = draft_record(context, draft)
    earlier = await replayed(context, record)
    if earlier is not None and isinstance(earlier.response, dict):
        usage = usage_of(earlier)
        return BilledAnswer(spec.read(earlier.response, usage), usage, earlier.cost, replayed=True)
    for number in range(spec.max_retries):
        try:
            return await _send(context, draft, record, spec)
        except AICallRefused:
            raise
        except AICallFailed:
            await asyncio.sleep(min(FIRST_WAIT * 2**number, LONGEST_WAIT))
            record = replace(record, id=context.new_id())
    return await _send(context, draft, record, spec)


async def _send[A: Answer](
    context: CallContext, draft: Draft, record: AICallRecord, spec: CallSpec[A]
) -> BilledAnswer[A]:
    with call_span(draft.call_type, draft.model, context.topic) as span:
        note_request(span, draft.temperature, draft.max_tokens)
        call = await open_call(context, draft, record)
        try:
            answer = await spec.send()
        except (AICallFailed, asyncio.CancelledError) as error:
            note_failure(span, error)
            await call.fail(error)
            raise
        usage = answer.usage or replace(await spec.measure(answer), estimated=True)
        document = spec.document(answer)
        cost = await call.settle(document, usage)
        note_answer(span, usage, cost, [str(document["finish_reason"])] if "finish_reason" in document else [])
        return BilledAnswer(answer, usage, cost)
