"""OpenAI's API of chat completions and embeddings."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.domain.values import Json
from engine.testing.fake_ai.invented import DIMENSIONS, count_tokens, instance, sentence, vector


@dataclass(frozen=True, slots=True, kw_only=True)
class Scripted:
    """One scripted answer of the server. A `status` from 400 on is an error; `usage` None omits the usage.

    The server first waits `delay` seconds. `cut` breaks a stream off after so many chunks.
    """

    text: str | None = None
    reasoning: str | None = None
    tool: str | None = None
    arguments: Mapping[str, Json] = field(default_factory=dict)
    finish_reason: str | None = None
    usage: Mapping[str, Json] | None = field(default_factory=dict)
    status: int = 200
    delay: float = 0.0
    cut: int | None = None


def completion(request: Mapping[str, Any], script: Scripted) -> dict[str, Json]:
    message = _message(request, script)
    answer = {
        "id": "chatcmpl-fake",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": request["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": _finish(message, script)}],
    }
    return answer if script.usage is None else {**answer, "usage": _usage(request, message, script)}


def stream(request: Mapping[str, Any], script: Scripted) -> Iterator[dict[str, Json]]:
    """The answer in chunks, then its usage."""
    message = _message(request, script)
    blank = {"id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": 0, "model": request["model"]}

    def piece(delta: Json, finish: Json = None) -> dict[str, Json]:
        return {**blank, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    if message.get("reasoning_content"):
        yield piece({"role": "assistant", "reasoning_content": message["reasoning_content"]})
    words = (message.get("content") or "").split(" ")
    for number, word in enumerate(words):
        yield piece({"role": "assistant", "content": word if number == 0 else f" {word}"})
    yield piece({}, _finish(message, script))
    if script.usage is not None:
        yield {**blank, "choices": [], "usage": _usage(request, message, script)}


def embeddings(request: Mapping[str, Any]) -> dict[str, Json]:
    given = request["input"]
    texts = [given] if isinstance(given, str) else given
    size = request.get("dimensions") or DIMENSIONS
    rows = [{"object": "embedding", "index": n, "embedding": vector(text, size)} for n, text in enumerate(texts)]
    tokens = sum(count_tokens(text) for text in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "model": request["model"], "data": rows, "usage": usage}


def _message(request: Mapping[str, Any], script: Scripted) -> dict[str, Json]:
    tools = request.get("tools") or []
    if script.tool is not None:
        return _tool_call(script.tool, script.arguments)
    if tools and script.text is None and request["messages"][-1]["role"] != "tool":
        function = tools[0]["function"]
        return _tool_call(function["name"], instance(function["parameters"], _asked(request)))
    text = _text(request) if script.text is None else script.text
    return {"role": "assistant", "content": text, "reasoning_content": script.reasoning}


def _text(request: Mapping[str, Any]) -> str:
    asked, wanted = _asked(request), request.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        return json.dumps(instance(wanted["json_schema"]["schema"], asked))
    return sentence(asked)


def _tool_call(name: str, arguments: Json) -> dict[str, Json]:
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": f"call_{name}", "type": "function", "function": function}],
    }


def _asked(request: Mapping[str, Any]) -> str:
    """The text of the last message."""
    content = request["messages"][-1].get("content") or ""
    return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)


def _finish(message: Mapping[str, Any], script: Scripted) -> str:
    return script.finish_reason or ("tool_calls" if message.get("tool_calls") else "stop")


def _usage(request: Mapping[str, Any], message: Mapping[str, Any], script: Scripted) -> dict[str, Json]:
    said = f"{message.get('content') or ''}{message.get('reasoning_content') or ''}{message.get('tool_calls') or ''}"
    counted = {"prompt_tokens": _tokens_in(request["messages"]), "completion_tokens": count_tokens(said)}
    usage = {**counted, **(script.usage or {})}
    return {**usage, "total_tokens": usage["prompt_tokens"] + usage["completion_tokens"]}


def _tokens_in(messages: Sequence[Mapping[str, Any]]) -> int:
    return sum(count_tokens(json.dumps(message.get("content") or "")) for message in messages)
