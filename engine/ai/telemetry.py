"""Spans of model calls under the names of OpenTelemetry's conventions for generative AI.

Nothing is recorded without an SDK in the process.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from engine.ai.model_info import ModelInfo, Usage

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_TEMPERATURE = "gen_ai.request.temperature"
REQUEST_MAX_TOKENS = "gen_ai.request.max_tokens"
FINISH_REASONS = "gen_ai.response.finish_reasons"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
TOOL_NAME = "gen_ai.tool.name"
ERROR_TYPE = "error.type"
TOPIC = "workflow.ai.topic"
COST = "workflow.ai.cost_usd"

OPERATIONS = {"embed": "embeddings", "tool": "execute_tool"}
"""The operation names by call type. All other types are chats."""

PROVIDERS = {"google": "gcp.gemini", "gemini": "gcp.gemini", "vertex_ai": "gcp.vertex_ai", "azure": "azure.ai.openai"}
"""The conventions' provider names that differ from litellm's."""

_TRACER = trace.get_tracer("engine.ai")


@contextmanager
def call_span(call_type: str, model: ModelInfo, topic: str) -> Iterator[Span]:
    """A span around one call. An exception marks the span as failed and is raised again."""
    operation = OPERATIONS.get(call_type, "chat")
    attributes = {
        OPERATION: operation,
        PROVIDER: PROVIDERS.get(model.provider, model.provider),
        REQUEST_MODEL: model.id,
        TOPIC: topic,
    }
    with _TRACER.start_as_current_span(
        f"{operation} {model.id}", kind=SpanKind.CLIENT, attributes=attributes, set_status_on_exception=False
    ) as span:
        yield span


@contextmanager
def tool_span(name: str, topic: str) -> Iterator[Span]:
    attributes = {OPERATION: OPERATIONS["tool"], TOOL_NAME: name, TOPIC: topic}
    with _TRACER.start_as_current_span(f"execute_tool {name}", attributes=attributes) as span:
        yield span


def note_request(span: Span, temperature: float | None, max_tokens: int | None) -> None:
    if temperature is not None:
        span.set_attribute(REQUEST_TEMPERATURE, temperature)
    if max_tokens is not None:
        span.set_attribute(REQUEST_MAX_TOKENS, max_tokens)


def note_answer(span: Span, usage: Usage, cost: float | None, finish_reasons: Sequence[str] = ()) -> None:
    span.set_attribute(INPUT_TOKENS, usage.input_tokens)
    span.set_attribute(OUTPUT_TOKENS, usage.output_tokens)
    if finish_reasons:
        span.set_attribute(FINISH_REASONS, tuple(finish_reasons))
    if cost is not None:
        span.set_attribute(COST, cost)


def note_failure(span: Span, error: BaseException) -> None:
    span.set_attribute(ERROR_TYPE, type(error).__name__)
    span.set_status(Status(StatusCode.ERROR))
