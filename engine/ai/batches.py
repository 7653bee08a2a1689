"""Provider batches: many requests at half the price, answered within a day."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from engine.ai.budget import most_output
from engine.ai.call_ledger import CallContext, Draft, blank_record, draft_record, open_call
from engine.ai.call_log import BATCH
from engine.ai.event_loop import shielded
from engine.ai.messages import texts_of, tokens_of_files, user_message
from engine.ai.model_info import ModelInfo, Price, Usage
from engine.ai.objects import parse, problems, schema_document
from engine.ai.providers.batch_provider import BatchAnswer, BatchProvider, BatchRequest, BatchState, BatchStatus
from engine.domain.ai_calls import AICallRecord, CallState
from engine.domain.errors import AICallFailed, InvalidInput
from engine.domain.values import plain

type Schemas = Mapping[str, Any] | type[Any] | None
"""The type of each item's answer by item id, or one type for all."""


class BatchItem(BaseModel):
    """One request. `prompt` is text or parts; `schema` is the type that its answer has to fit."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, populate_by_name=True)

    id: str
    prompt: Any
    schema_: Any = None

    @classmethod
    def of(cls, given: "BatchItem | Mapping[str, Any]") -> "BatchItem":
        if isinstance(given, BatchItem):
            return given
        return cls(**{("schema_" if name == "schema" else name): value for name, value in given.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchHandle:
    """A submitted batch. A stage suspends with it."""

    id: str
    model: str
    items: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Succeeded:
    """`result` has the type of the item's schema; without a schema it is text."""

    id: str
    result: Any
    text: str
    usage: Usage
    cost: float | None
    ok: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The provider failed, or the answer does not fit the schema. An answer that does not fit is charged too."""

    id: str
    error: str
    text: str = ""
    usage: Usage = field(default_factory=Usage)
    cost: float | None = 0.0
    ok: bool = False


type BatchResult = Succeeded | Failed


class AsyncBatch:
    """The batches of one model at one provider. Every item is recorded under the helper's topic."""

    def __init__(self, context: CallContext, model: ModelInfo, provider: BatchProvider, price: Price | None) -> None:
        self._context, self._model, self._provider = context, model, provider
        self._price = price or model.price_in_batches
        self._schemas: dict[str, Any] = {}

    async def submit(
        self,
        items: Sequence[BatchItem | Mapping[str, Any]],
        *,
        max_tokens: int | None = None,
        temperature: float | None = None,
    ) -> BatchHandle:
        """Submits the items, once per generation of a stage: a later attempt gets the batch of the earlier one.

        A second batch is submitted only if the process dies between the provider's answer and its record; the first
        batch's reservation then stays in the ledger. Raises `BudgetExceeded`, `AICallRefused`, `AICallFailed`.
        """
        given = _checked([BatchItem.of(item) for item in items])
        self._schemas |= {item.id: item.schema_ for item in given if item.schema_ is not None}
        requests = [self._request(item, max_tokens, temperature) for item in given]
        draft = await self._draft(requests, max_tokens)
        record = replace(draft_record(self._context, draft), metadata=self._agreed(requests))
        turn = self._context.replays.next(record.request_hash or "")
        earlier = await asyncio.to_thread(self._context.log.answered_before, record) if record.attempt > 1 else ()
        if turn < len(earlier) and (submitted := earlier[turn].batch_id) is not None:
            return BatchHandle(id=submitted, model=self._model.key, items=len(given))
        call = await open_call(self._context, draft, record)
        try:
            batch_id = await asyncio.to_thread(self._provider.submit, requests)
        except AICallFailed as error:
            await call.fail(error)
            raise
        await shielded(self._context.log.name_batch, record.id, batch_id)
        return BatchHandle(id=batch_id, model=self._model.key, items=len(given))

    async def get_status(self, batch_id: str) -> BatchStatus:
        return await asyncio.to_thread(self._provider.status, batch_id)

    async def get_results(self, batch_id: str, schemas: Schemas = None) -> Sequence[BatchResult]:
        """Gives every item's answer, checked against its schema. The first call records their cost.

        Pass `schemas` again in a process that did not submit the batch; otherwise answers are text. Raises
        `AICallFailed` while the batch is not done, and when it failed as a whole.
        """
        status = await self.get_status(batch_id)
        if status.state is BatchState.IN_PROGRESS:
            raise AICallFailed(f"batch {batch_id!r} is not done yet")
        answers = await asyncio.to_thread(self._provider.results, batch_id)
        known = await asyncio.to_thread(self._context.log.batch_calls, batch_id)
        reserved = next((call for call in known if call.call_type == BATCH), None)
        price = _agreed_price(reserved) or self._price
        results = [self._result(answer, schemas, price) for answer in answers]
        calls = [self._call(reserved, number, result) for number, result in enumerate(results)]
        await shielded(self._context.log.log_batch_results, batch_id, calls)
        if status.state is not BatchState.COMPLETED:
            raise AICallFailed(f"batch {batch_id!r} {status.state.lower()}: {status.error or 'no reason given'}")
        return results

    async def is_recorded(self, batch_id: str) -> bool:
        return await asyncio.to_thread(self._context.log.is_recorded, batch_id)

    def _request(self, item: BatchItem, max_tokens: int | None, temperature: float | None) -> BatchRequest:
        return BatchRequest(
            id=item.id,
            model=self._model.id.rpartition("/")[2],
            messages=(user_message(item.prompt),),
            max_tokens=most_output(self._model, max_tokens),
            temperature=temperature,
            schema=None if item.schema_ is None else schema_document(item.schema_),
        )

    async def _draft(self, requests: Sequence[BatchRequest], max_tokens: int | None) -> Draft:
        messages = [message for request in requests for message in request.messages]
        schemas = [str(request.schema) for request in requests if request.schema]
        counted = _bytes([*texts_of(messages), *schemas]) + tokens_of_files(messages)
        document = {
            "items": [{"id": each.id, "messages": list(each.messages), "schema": each.schema} for each in requests]
        }
        return Draft(
            call_type=BATCH,
            model=self._model,
            document={"model": self._model.key, "max_tokens": max_tokens, **document},
            bound=Usage(input_tokens=counted, output_tokens=sum(each.max_tokens for each in requests)),
            price=self._price,
        )

    def _agreed(self, requests: Sequence[BatchRequest]) -> dict[str, Any]:
        """The price is stored with the batch: the process that fetches the results may have no price list."""
        return {"items": len(requests), "price": self._price.to_json() if self._price else None}

    def _result(self, answer: BatchAnswer, schemas: Schemas, price: Price | None) -> BatchResult:
        if answer.error is not None:
            return Failed(id=answer.id, error=answer.error)
        cost = None if price is None else price.of(answer.usage)
        item, text, usage = answer.id, answer.text, answer.usage
        schema = schemas.get(answer.id) if isinstance(schemas, Mapping) else schemas or self._schemas.get(answer.id)
        if schema is None:
            return Succeeded(id=item, result=text, text=text, usage=usage, cost=cost)
        try:
            fitting = parse(TypeAdapter(schema), text)
            return Succeeded(id=item, result=fitting, text=text, usage=usage, cost=cost)
        except ValidationError as error:
            reason = f"the answer does not fit {error.title}: {'; '.join(problems(error))}"
            return Failed(id=item, error=reason, text=text, usage=usage, cost=cost)

    def _call(self, reserved: AICallRecord | None, number: int, result: BatchResult) -> AICallRecord:
        base = reserved or blank_record(self._context, BATCH, self._model)
        keep = self._context.content.kept
        return replace(
            base,
            id=f"{base.id}.{number:06}",
            call_type="batch_item",
            state=CallState.SETTLED if result.cost != 0.0 or result.ok else CallState.FAILED,
            reserved_cost=None,
            reserved_tokens=0,
            request_hash=None,
            prompt=None,
            response=keep({"text": result.text}) if result.text else None,
            input_tokens=result.usage.input_tokens,
            output_tokens=result.usage.output_tokens,
            cached_tokens=result.usage.cached_tokens,
            reasoning_tokens=result.usage.reasoning_tokens,
            cost=result.cost,
            error=plain(result.error) if isinstance(result, Failed) else None,
            metadata={"item": result.id},
        )


def _checked(items: Sequence[BatchItem]) -> Sequence[BatchItem]:
    ids = [item.id for item in items]
    if not ids:
        raise InvalidInput("a batch needs at least one item")
    if repeated := sorted({each for each in ids if ids.count(each) > 1}):
        raise InvalidInput(f"the items of a batch need ids of their own; repeated: {', '.join(repeated)}")
    return items


def _bytes(texts: Sequence[str]) -> int:
    """An upper bound: no tokenizer makes more tokens than bytes. It needs no tokenizer."""
    return sum(len(text.encode(errors="replace")) for text in texts)


def _agreed_price(reserved: AICallRecord | None) -> Price | None:
    agreed = (reserved.metadata or {}).get("price") if reserved else None
    return Price(**agreed) if agreed else None
