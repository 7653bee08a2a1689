"""Typed objects from a model."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from engine.ai.call_ledger import BilledAnswer, CallContext
from engine.ai.messages import ChatAnswer, Message
from engine.ai.model_info import ModelInfo, Usage
from engine.ai.text import ChatOptions, TextResult, ToolUse, ask, chat_request, generate, summed
from engine.domain.errors import AIOutputError
from engine.domain.values import Json, plain

_FENCE = re.compile(r"^\s*```[\w-]*\s*\n(.*?)\n?\s*```\s*$", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectResult[T]:
    """`repaired`: the first answer did not fit, and the model gave a second; `usage` and `cost` include both."""

    object: T
    text: str
    usage: Usage
    cost: float | None
    repaired: bool = False


async def generate_typed[T](
    context: CallContext, model: ModelInfo, messages: list[Message], schema: type[T], options: ChatOptions
) -> ObjectResult[T]:
    """Raises `AIOutputError` when the second answer does not fit either."""
    adapter: TypeAdapter[T] = TypeAdapter(schema)
    wanted = schema_document(schema)
    native = model.supports_schema
    asked = messages if native else [*messages, {"role": "user", "content": _schema_instruction(wanted)}]
    request = replace(chat_request(model, asked, options), response_format=_format(wanted) if native else None)
    first = await ask(context, request, options, "object")
    try:
        return _result(adapter, [first])
    except ValidationError as error:
        repair = (*request.messages, *_repair(first.answer.text, error))
    second = await ask(context, replace(request, messages=repair), options, "object")
    try:
        return _result(adapter, [first, second])
    except ValidationError as error:
        raise not_fitting(model, error, second.answer.text) from error


def not_fitting(model: ModelInfo, error: ValidationError, text: str) -> AIOutputError:
    faults = "; ".join(problems(error))
    return AIOutputError(f"the answer of {model.key!r} does not fit {error.title}: {faults}", text)


def schema_document(schema: Any) -> dict[str, Json]:
    return TypeAdapter(schema).json_schema()


def native_format(schema: Any) -> Json:
    """The schema as OpenAI's `response_format`."""
    return _format(schema_document(schema))


def _format(wanted: dict[str, Json]) -> Json:
    name = re.sub(r"[^a-zA-Z0-9_-]", "_", str(wanted.get("title", "answer")))[:64]
    return {"type": "json_schema", "json_schema": {"name": name, "schema": wanted, "strict": False}}


def _schema_instruction(wanted: Json) -> str:
    return f"Answer with JSON that fits this JSON schema, and nothing else:\n{json.dumps(plain(wanted))}"


def parse[T](adapter: TypeAdapter[T], text: str) -> T:
    """Raises `ValidationError`."""
    fenced = _FENCE.match(text)
    return adapter.validate_json(fenced[1] if fenced else text.strip())


def problems(error: ValidationError) -> list[str]:
    return [f"{'.'.join(map(str, each['loc'])) or 'answer'}: {each['msg']}" for each in error.errors()]


def _repair(text: str, error: ValidationError) -> Sequence[Message]:
    faults = "\n".join(f"- {problem}" for problem in problems(error))
    ask_again = f"That does not fit the schema:\n{faults}\nAnswer again, with the corrected JSON and nothing else."
    return [{"role": "assistant", "content": text or "(nothing)"}, {"role": "user", "content": ask_again}]


def _result[T](adapter: TypeAdapter[T], answers: list[BilledAnswer[ChatAnswer]]) -> ObjectResult[T]:
    text = answers[-1].answer.text
    return ObjectResult(
        object=parse(adapter, text),
        text=text,
        usage=sum((billed.usage for billed in answers), Usage()),
        cost=summed(billed.cost for billed in answers),
        repaired=len(answers) > 1,
    )


async def with_output(
    context: CallContext, model: ModelInfo, messages: list[Message], options: ChatOptions, use: ToolUse, *, output: Any
) -> TextResult:
    """Runs the tool loop, then asks for an object from its result. The sums include both."""
    result = await generate(context, model, messages, options, use)
    ask_for_it = [*messages, {"role": "assistant", "content": result.text or "(done)"}, _AS_OUTPUT]
    typed = await generate_typed(context, model, ask_for_it, output, options)
    return replace(
        result,
        output=typed.object,
        usage=result.usage + typed.usage,
        cost=summed([result.cost, typed.cost]),
    )


_AS_OUTPUT: Message = {"role": "user", "content": "Give the result of this as JSON."}
