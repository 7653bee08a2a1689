"""Anthropic's API of message batches: /v1/messages/batches, with results as unordered JSON Lines."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.domain.values import Json
from engine.testing.fake_ai.invented import count_tokens, instance, sentence
from engine.testing.fake_ai.kept_batches import KeptBatches, Refused, fails

CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
PARTS = frozenset({"text", "image", "document"})
CACHED, WRITTEN = 3, 2
"""The tokens read from and written to the cache by every answer. `input_tokens` excludes them."""


@dataclass(frozen=True, slots=True)
class AnthropicBatchesAPI:
    kept: KeptBatches

    def create(self, request: Mapping[str, Any], headers: Mapping[str, str]) -> Json:
        _check_headers(headers)
        for each in request["requests"]:
            _check(each)
        return self._batch(self.kept.keep("msgbatch_", request["requests"]))

    def get(self, batch_id: str, headers: Mapping[str, str]) -> Json:
        _check_headers(headers)
        return self._batch(batch_id)

    def results(self, batch_id: str, headers: Mapping[str, str]) -> bytes:
        _check_headers(headers)
        requests, done = self.kept.find(batch_id)
        if not done:
            raise Refused(404, "the batch has no results yet")
        return "".join(f"{json.dumps(_result(each))}\n" for each in reversed(requests)).encode()

    def _batch(self, batch_id: str) -> Json:
        requests, done = self.kept.find(batch_id)
        errored = sum(fails(each["params"]["messages"]) for each in requests)
        ended = {"processing": 0, "succeeded": len(requests) - errored, "errored": errored}
        counts = ended if done else {"processing": len(requests), "succeeded": 0, "errored": 0}
        return {
            "id": batch_id,
            "type": "message_batch",
            "processing_status": "ended" if done else "in_progress",
            "request_counts": {**counts, "canceled": 0, "expired": 0},
        }


def _check_headers(headers: Mapping[str, str]) -> None:
    if not headers.get("x-api-key") or not headers.get("anthropic-version"):
        raise Refused(401, "x-api-key and anthropic-version are required")


def _check(each: Mapping[str, Any]) -> None:
    params = each["params"]
    if not CUSTOM_ID.fullmatch(each["custom_id"]):
        raise Refused(400, f"custom_id: {each['custom_id']!r} does not match {CUSTOM_ID.pattern!r}")
    if params["max_tokens"] < 1 or any(message["role"] not in {"user", "assistant"} for message in params["messages"]):
        raise Refused(400, "params: max_tokens and roles")
    for part in _parts(params["messages"]):
        if part["type"] not in PARTS:
            raise Refused(400, f"content: {part['type']!r} is none of {sorted(PARTS)}")


def _parts(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    lists = [message["content"] for message in messages if not isinstance(message["content"], str)]
    return [part for parts in lists for part in parts]


def _result(each: Mapping[str, Any]) -> Json:
    params = each["params"]
    if fails(params["messages"]):
        error = {"type": "error", "error": {"type": "api_error", "message": "the model would not"}}
        return {"custom_id": each["custom_id"], "result": {"type": "errored", "error": error}}
    text = _text(params)
    message = {
        "id": "msg_fake",
        "type": "message",
        "role": "assistant",
        "model": params["model"],
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "usage": {
            "input_tokens": count_tokens(json.dumps(params["messages"])),
            "cache_read_input_tokens": CACHED,
            "cache_creation_input_tokens": WRITTEN,
            "output_tokens": count_tokens(text),
        },
    }
    return {"custom_id": each["custom_id"], "result": {"type": "succeeded", "message": message}}


def _text(params: Mapping[str, Any]) -> str:
    """Answers a schema in the instructions with fenced JSON, as models often do."""
    asked = json.dumps(params["messages"][-1]["content"])
    _, found, schema = str(params.get("system", "")).partition("{")
    if not found:
        return sentence(asked)
    return f"```json\n{json.dumps(instance(json.loads(found + schema), asked))}\n```"
