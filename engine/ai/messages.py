"""Requests to models and their answers, in the engine's own types. The gateway translates them."""

import asyncio
import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from engine.ai.model_info import ModelInfo, Usage
from engine.domain.values import Json


@dataclass(frozen=True, slots=True)
class TextPart:
    text: str


@dataclass(frozen=True, slots=True)
class FilePart:
    """An image, a PDF or another file: bytes, or base64 text."""

    data: bytes | str
    media_type: str
    name: str = "file"

    @property
    def url(self) -> str:
        encoded = self.data if isinstance(self.data, str) else base64.b64encode(self.data).decode()
        return f"data:{self.media_type};base64,{encoded}"


type Prompt = str | Sequence[str | TextPart | FilePart]
type Message = dict[str, Any]
"""A message in the form of OpenAI's chat API: role, content, tool calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """The model's call of a tool. `arguments` is JSON text as the model wrote it."""

    id: str
    name: str
    arguments: str

    def message(self) -> Json:
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": self.arguments}}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """A chat request. `timeout` is in seconds. `options` are passed to the provider unchanged."""

    model: ModelInfo
    messages: tuple[Message, ...]
    temperature: float | None = None
    max_tokens: int | None = None
    timeout: float | None = None
    tools: tuple[Json, ...] = ()
    tool_choice: Json = None
    response_format: Json = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Json]:
        """The fields that identify the request."""
        return {
            "model": self.model.key,
            "messages": list(self.messages),
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "tools": list(self.tools),
            "tool_choice": self.tool_choice,
            "response_format": self.response_format,
            "options": dict(self.options),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatAnswer:
    """`usage` None: the provider did not report it."""

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str = "stop"
    usage: Usage | None = None

    def document(self) -> dict[str, Json]:
        return {
            "text": self.text,
            "reasoning": self.reasoning,
            "tool_calls": [{"id": each.id, "name": each.name, "arguments": each.arguments} for each in self.tool_calls],
            "finish_reason": self.finish_reason,
        }

    @classmethod
    def read(cls, document: Mapping[str, Any], usage: Usage) -> "ChatAnswer":
        calls = tuple(ToolCall(**each) for each in document["tool_calls"])
        return cls(
            text=document["text"],
            reasoning=document["reasoning"],
            tool_calls=calls,
            finish_reason=document["finish_reason"],
            usage=usage,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A chunk of a streamed answer. The last ones carry `finish_reason` and, if the provider reports it, `usage`."""

    text: str = ""
    reasoning: str = ""
    finish_reason: str | None = None
    usage: Usage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedRequest:
    model: ModelInfo
    texts: tuple[str, ...]
    dimensions: int | None = None
    timeout: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Json]:
        return {
            "model": self.model.key,
            "texts": list(self.texts),
            "dimensions": self.dimensions,
            "options": dict(self.options),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedAnswer:
    vectors: tuple[tuple[float, ...], ...]
    usage: Usage | None = None


class ChunkStream(Protocol):
    """A streamed answer. It is no async generator: those cannot outlive the event loop they started on."""

    async def next(self) -> Chunk | None:
        """The next chunk, or None at the end."""

    async def close(self) -> None:
        """Ends the transfer. A no-op when it has ended."""


class CancelledUnsent(asyncio.CancelledError):
    """The call was cancelled before it was sent, so it cost nothing."""


class Gateway(Protocol):
    """Calls models. Raises `AICallRefused`, or `AICallFailed` for a failure that a retry may cure.

    A cancelled call that was certainly not sent ends with `CancelledUnsent`.
    """

    async def chat(self, request: ChatRequest) -> ChatAnswer: ...
    async def stream(self, request: ChatRequest) -> ChunkStream: ...
    async def embed(self, request: EmbedRequest) -> EmbedAnswer: ...
    async def count_tokens(self, texts: Sequence[str]) -> int:
        """Estimates the tokens: each provider counts in its own way."""


def user_message(prompt: Prompt) -> Message:
    if isinstance(prompt, str):
        return {"role": "user", "content": prompt}
    return {"role": "user", "content": [_part(part) for part in prompt]}


def _part(part: str | TextPart | FilePart) -> Json:
    match part:
        case str():
            return {"type": "text", "text": part}
        case TextPart():
            return {"type": "text", "text": part.text}
        case FilePart() if part.media_type.startswith("image/"):
            return {"type": "image_url", "image_url": {"url": part.url}}
        case FilePart():
            return {"type": "file", "file": {"filename": part.name, "file_data": part.url}}


def file_of(part: Json) -> tuple[str, str]:
    """The media type and the base64 text of a file part."""
    url = part["image_url"]["url"] if part["type"] == "image_url" else part["file"]["file_data"]
    media_type, _, data = url.removeprefix("data:").partition(";base64,")
    return media_type, data


def texts_of(messages: Sequence[Message]) -> list[str]:
    """The texts of the messages, whose tokens are counted."""
    texts: list[str] = []
    for message in messages:
        content = message.get("content")
        parts = [content] if isinstance(content, str) else [part.get("text", "") for part in content or ()]
        calls = [call["function"]["arguments"] for call in message.get("tool_calls") or ()]
        texts += [*parts, *calls]
    return texts


TOKENS_OF_A_FILE = 2_000
BYTES_OF_A_TOKEN = 100
"""An upper bound, at all three providers, for the tokens of an image or a page of a PDF."""


def tokens_of_files(messages: Sequence[Message]) -> int:
    """An upper bound for the tokens of the files in the messages."""
    sizes = [
        len((part.get("image_url") or {}).get("url") or (part.get("file") or {}).get("file_data", ""))
        for message in messages
        if not isinstance(message.get("content"), str)
        for part in message.get("content") or ()
        if part.get("type") != "text"
    ]
    return sum(TOKENS_OF_A_FILE + size // BYTES_OF_A_TOKEN for size in sizes)
