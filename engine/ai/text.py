"""Text from a model, with tools in a loop."""

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from engine.ai.budget import chat_bound, texts_to_count
from engine.ai.call_ledger import BilledAnswer, CallContext, CallSpec, Draft, blank_record, execute_call
from engine.ai.event_loop import shielded
from engine.ai.messages import ChatAnswer, ChatRequest, Message, Prompt, ToolCall, user_message
from engine.ai.model_info import ModelInfo, Price, Usage
from engine.ai.telemetry import tool_span
from engine.ai.tool_calls import Tool, ToolResult, as_tools, run_tool
from engine.domain.ai_calls import CallState
from engine.domain.limits import TOPIC
from engine.domain.values import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One answer of the model in a tool loop, and the results of its tool calls."""

    number: int
    text: str
    reasoning: str
    tool_calls: tuple[ToolCall, ...]
    tool_results: tuple[ToolResult, ...]
    usage: Usage
    cost: float | None


type OnStep = Callable[[Step], Awaitable[None] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextResult:
    """`text` and `reasoning` are those of the last step; `usage` and `cost` are sums. `cost` None means unknown.

    `output` is set when an `output=` schema was given.
    """

    text: str
    reasoning: str
    tool_calls: tuple[ToolCall, ...]
    finish_reason: str
    steps: tuple[Step, ...]
    usage: Usage
    cost: float | None
    output: Any = None

    @property
    def input_tokens(self) -> int:
        return self.usage.input_tokens

    @property
    def output_tokens(self) -> int:
        return self.usage.output_tokens

    @property
    def cached_tokens(self) -> int:
        return self.usage.cached_tokens

    @property
    def reasoning_tokens(self) -> int:
        return self.usage.reasoning_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatOptions:
    """The options of chat requests. `timeout` is in seconds, for each request."""

    temperature: float | None = 0.7
    max_tokens: int | None = None
    max_retries: int = 2
    timeout: float | None = None
    price: Price | None = None
    provider_options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUse:
    tools: Mapping[str, Tool] = field(default_factory=dict)
    tool_choice: Json = None
    max_steps: int = 5
    on_step: OnStep | None = None


def chat_request(model: ModelInfo, messages: Sequence[Message], options: ChatOptions) -> ChatRequest:
    return ChatRequest(
        model=model,
        messages=tuple(messages),
        temperature=options.temperature,
        max_tokens=options.max_tokens,
        timeout=options.timeout,
        options=options.provider_options,
    )


def first_messages(prompt: Prompt, instructions: str | None) -> list[Message]:
    system = [] if instructions is None else [{"role": "system", "content": instructions}]
    return [*system, user_message(prompt)]


async def ask(
    context: CallContext, request: ChatRequest, options: ChatOptions, call_type: str
) -> BilledAnswer[ChatAnswer]:
    """Makes one recorded request."""
    gateway = context.gateway
    counted = await gateway.count_tokens(texts_to_count(request))

    async def measure(answer: ChatAnswer) -> Usage:
        return Usage(input_tokens=counted, output_tokens=await gateway.count_tokens([answer.reasoning, answer.text]))

    draft = Draft(
        call_type=call_type,
        model=request.model,
        document=request.document(),
        bound=chat_bound(request, counted),
        price=options.price or request.model.price,
        temperature=request.temperature,
        max_tokens=request.max_tokens,
    )
    spec = CallSpec(
        send=lambda: gateway.chat(request),
        document=ChatAnswer.document,
        read=ChatAnswer.read,
        measure=measure,
        max_retries=options.max_retries,
    )
    return await execute_call(context, draft, spec)


async def generate(
    context: CallContext, model: ModelInfo, messages: list[Message], options: ChatOptions, use: ToolUse
) -> TextResult:
    """Sends the request, runs the tools that the model calls, and repeats with their results, `max_steps` times."""
    steps: list[Step] = []
    request = replace(chat_request(model, messages, options), tools=tuple(each.schema() for each in use.tools.values()))
    while True:
        choice = use.tool_choice if use.tools and not steps else None
        request = replace(request, messages=tuple(messages), tool_choice=choice)
        billed = await ask(context, request, options, "text")
        answer = billed.answer
        goes_on = bool(answer.tool_calls) and len(steps) + 1 < use.max_steps
        results = [await _run(context, model, call, use) for call in answer.tool_calls] if goes_on else []
        step = _step(len(steps) + 1, billed, results)
        steps.append(step)
        await _report_step(use.on_step, step)
        if not goes_on:
            return _result(answer, steps)
        messages += [_assistant(answer), *(result.message() for result in results)]


def _step(number: int, billed: BilledAnswer[ChatAnswer], results: Sequence[ToolResult]) -> Step:
    return Step(
        number=number,
        text=billed.answer.text,
        reasoning=billed.answer.reasoning,
        tool_calls=billed.answer.tool_calls,
        tool_results=tuple(results),
        usage=billed.usage,
        cost=billed.cost,
    )


def _result(answer: ChatAnswer, steps: list[Step]) -> TextResult:
    usage = sum((step.usage for step in steps), Usage())
    return TextResult(
        text=answer.text,
        reasoning=answer.reasoning,
        tool_calls=answer.tool_calls,
        finish_reason=answer.finish_reason,
        steps=tuple(steps),
        usage=usage,
        cost=summed(step.cost for step in steps),
    )


def summed(costs: Any) -> float | None:
    """The sum of the costs; None if one of them is unknown."""
    known = list(costs)
    return None if None in known else sum(known)


def _assistant(answer: ChatAnswer) -> Message:
    return {
        "role": "assistant",
        "content": answer.text or None,
        "tool_calls": [call.message() for call in answer.tool_calls],
    }


async def _report_step(on_step: OnStep | None, step: Step) -> None:
    result = on_step(step) if on_step else None
    if inspect.isawaitable(result):
        await result


async def _run(context: CallContext, model: ModelInfo, call: ToolCall, use: ToolUse) -> ToolResult:
    """Runs a tool and records it under a topic of its own, without cost: only the model's answers cost."""
    child = context.under(f"{context.topic}.tool.{call.name.replace('.', '_')}"[:TOPIC])
    with tool_span(call.name, child.topic):
        result = await run_tool(call, dict(use.tools))
    await log_free(
        child,
        model,
        call_type="tool",
        prompt={"name": call.name, "arguments": result.arguments},
        response=result.result,
    )
    return result


async def log_free(context: CallContext, model: ModelInfo, *, call_type: str, prompt: Json, response: Json) -> None:
    record = replace(
        blank_record(context, call_type, model),
        state=CallState.SETTLED,
        cost=0.0,
        prompt=context.content.kept(prompt),
        response=context.content.kept({"result": response}),
    )
    await shielded(context.log.log_call, record)


def tool_use(
    tools: Sequence[Callable[..., Any] | Tool], tool_choice: Json, max_steps: int, on_step: OnStep | None
) -> ToolUse:
    return ToolUse(tools=as_tools(tools), tool_choice=tool_choice, max_steps=max_steps, on_step=on_step)
