"""Around every call that is sent: reserve, send, settle. And calls of earlier deliveries, given again."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from engine.ai.budget import CallSite
from engine.ai.content import ContentPolicy, is_whole, sha256_of
from engine.ai.event_loop import to_its_end
from engine.ai.messages import CancelledUnsent, Gateway
from engine.ai.model_info import ModelInfo, Price, Usage
from engine.ai.models import MODELS, Models
from engine.ai.telemetry import call_span, note_answer, note_failure, note_request
from engine.domain.ai_calls import AICallRecord, CallState
from engine.domain.errors import AICallFailed, AICallRefused
from engine.domain.json_values import plain
from engine.domain.stored_value import Json
from engine.ports.ai_call_logger import AICallLogger

FIRST_WAIT = 0.5
LONGEST_WAIT = 20.0

type Resolver = Callable[[str], ModelInfo | None]
"""The model that a key stands for here; None leaves it to the registered and listed ones."""


@dataclass(slots=True)
class Replays:
    """How often each request was made in this delivery: its n-th time may be answered by the n-th of an earlier one."""

    seen: Counter[str] = field(default_factory=Counter)

    def next(self, request_hash: str) -> int:
        self.seen[request_hash] += 1
        return self.seen[request_hash] - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """All that calls under one topic share."""

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
        """Raises `AICallRefused` for a retired one."""
        resolved = self.resolver(key) if self.resolver else None
        return resolved or self.models.get(key)

    def under(self, topic: str) -> "Desk":
        return replace(self, topic=topic)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A call about to be made: `document` is what makes it itself, `bound` the most it may take."""

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
class Paid[A]:
    """An answer and what it cost; `cost` None is unknown."""

    answer: A
    usage: Usage
    cost: float | None
    replayed: bool = False


def blank_record(desk: Desk, call_type: str, model: ModelInfo) -> AICallRecord:
    """A record with the place of the call filled in. Its times are the store's, once it is written."""
    site, now = desk.site, datetime.now(UTC)
    return AICallRecord(
        id=desk.new_id(),
        topic=desk.topic,
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
        attempt=site.attempt,
        delivery=site.delivery,
        scope=site.scope,
    )


def draft_record(desk: Desk, draft: Draft) -> AICallRecord:
    document = {"type": draft.call_type, **draft.document}
    return replace(
        blank_record(desk, draft.call_type, draft.model),
        prompt=desk.content.kept(draft.document),
        request_hash=sha256_of(document),
        reserved_cost=None if draft.price is None else draft.price.of(draft.bound),
        reserved_tokens=draft.bound.total_tokens,
    )


@dataclass(slots=True)
class OpenCall:
    """A reserved call. Exactly one of `settle` and `fail` ends it; after a crash it stays reserved."""

    desk: Desk
    draft: Draft
    record: AICallRecord
    begun: float

    async def settle(self, response: Json, usage: Usage, metadata: Mapping[str, Json] | None = None) -> float | None:
        """Gives what it cost."""
        cost = None if self.draft.price is None else self.draft.price.of(usage)
        notes = {**(metadata or {}), **({"estimated": True} if usage.estimated else {})}
        settled = replace(
            self.record,
            state=CallState.SETTLED,
            response=self.desk.content.kept(response),
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cached_tokens=usage.cached_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            cost=cost,
            duration_ms=self._duration_ms(),
            metadata=notes or None,
        )
        await to_its_end(self.desk.log.settle, settled)
        return cost

    async def fail(self, error: BaseException) -> None:
        """Free, unless the answer may have been lost on its way: then nobody knows, and the reservation stays."""
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
        await to_its_end(self.desk.log.settle, failed)

    def _duration_ms(self) -> int:
        return round((time.monotonic() - self.begun) * 1000)


async def open_call(desk: Desk, draft: Draft, record: AICallRecord | None = None) -> OpenCall:
    """Raises `BudgetExceeded`: then nothing is written, and nothing may be sent."""
    desk.site.check_price(draft.model, draft.price)
    record = record or draft_record(desk, draft)
    call = OpenCall(desk, draft, record, time.monotonic())
    try:
        await to_its_end(desk.log.reserve, record, desk.site.caps)
    except asyncio.CancelledError:
        await call.fail(CancelledUnsent())  # changes nothing where nothing was reserved
        raise
    return call


async def replayed(desk: Desk, record: AICallRecord) -> AICallRecord | None:
    """The call of an earlier delivery of this attempt that answers this request, if its answer was kept."""
    turn = desk.replays.next(record.request_hash or "")
    if record.workflow_run_id is None or record.delivery <= 1:
        return None
    earlier = await asyncio.to_thread(desk.log.answered_before, record)
    return earlier[turn] if turn < len(earlier) and is_whole(earlier[turn].response) else None


def usage_of(record: AICallRecord) -> Usage:
    return Usage(
        input_tokens=record.input_tokens,
        output_tokens=record.output_tokens,
        cached_tokens=record.cached_tokens,
        reasoning_tokens=record.reasoning_tokens,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending[A]:
    """How a call is sent and its answer is kept, given again, and, without the provider's word, measured."""

    send: Callable[[], Awaitable[A]]
    document: Callable[[A], dict[str, Json]]
    read: Callable[[Mapping[str, Any], Usage], A]
    measure: Callable[[A], Awaitable[Usage]]
    max_retries: int = 0


async def pay[A: Answer](desk: Desk, draft: Draft, sending: Sending[A]) -> Paid[A]:
    """One call in the books, or one for each try that failed and was made again."""
    record = draft_record(desk, draft)
    earlier = await replayed(desk, record)
    if earlier is not None and isinstance(earlier.response, dict):
        usage = usage_of(earlier)
        return Paid(sending.read(earlier.response, usage), usage, earlier.cost, replayed=True)
    for number in range(sending.max_retries):
        try:
            return await _send(desk, draft, record, sending)
        except AICallRefused:
            raise
        except AICallFailed:
            await asyncio.sleep(min(FIRST_WAIT * 2**number, LONGEST_WAIT))
            record = replace(record, id=desk.new_id())
    return await _send(desk, draft, record, sending)


async def _send[A: Answer](desk: Desk, draft: Draft, record: AICallRecord, sending: Sending[A]) -> Paid[A]:
    with call_span(draft.call_type, draft.model, desk.topic) as span:
        note_request(span, draft.temperature, draft.max_tokens)
        call = await open_call(desk, draft, record)
        try:
            answer = await sending.send()
        except (AICallFailed, asyncio.CancelledError) as error:
            note_failure(span, error)
            await call.fail(error)
            raise
        usage = answer.usage or replace(await sending.measure(answer), estimated=True)
        document = sending.document(answer)
        cost = await call.settle(document, usage)
        note_answer(span, usage, cost, [str(document["finish_reason"])] if "finish_reason" in document else [])
        return Paid(answer, usage, cost)
