"""Gemini's API of batches: models/…:batchGenerateContent, then an operation with inlined responses."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.domain.values import Json
from engine.testing.fake_ai.invented import count_tokens, instance, sentence
from engine.testing.fake_ai.kept_batches import KeptBatches, Refused, fails

THOUGHT = "let me think"
THOUGHT_TOKENS = 7
"""Every answer begins with a thought, whose tokens are not among the candidates'."""


@dataclass(frozen=True, slots=True)
class GoogleBatchesAPI:
    kept: KeptBatches

    def create(self, model: str, request: Mapping[str, Any], headers: Mapping[str, str]) -> Json:
        _check_headers(headers)
        requests = request["batch"]["input_config"]["requests"]["requests"]
        for each in requests:
            _check(each["request"])
        return self._operation(self.kept.keep("google-", {"model": model, "requests": requests}))

    def get(self, batch_id: str, headers: Mapping[str, str]) -> Json:
        _check_headers(headers)
        return self._operation(batch_id)

    def _operation(self, batch_id: str) -> Json:
        kept, done = self.kept.find(batch_id)
        requests = kept["requests"]
        failed = sum(fails(each["request"]["contents"]) for each in requests)
        # The API writes 64-bit numbers as text, and leaves out those that are zero.
        stats = {"requestCount": str(len(requests)), **({} if done else {"pendingRequestCount": str(len(requests))})}
        if done:
            counts = {"successfulRequestCount": len(requests) - failed, "failedRequestCount": failed}
            stats |= {name: str(count) for name, count in counts.items() if count}
        state = "BATCH_STATE_SUCCEEDED" if done else "BATCH_STATE_RUNNING"
        operation = {
            "name": f"batches/{batch_id}",
            "metadata": {"model": kept["model"], "state": state, "batchStats": stats},
        }
        if not done:
            return operation
        responses = {"inlinedResponses": {"inlinedResponses": [_response(each) for each in reversed(requests)]}}
        return {**operation, "done": True, "response": responses}


def _check_headers(headers: Mapping[str, str]) -> None:
    if not headers.get("x-goog-api-key"):
        raise Refused(403, "API key missing")


def _check(request: Mapping[str, Any]) -> None:
    for content in request["contents"]:
        wrong = [part for part in content["parts"] if set(part) not in ({"text"}, {"inlineData"})]
        if wrong or content["role"] not in {"user", "model"}:
            raise Refused(400, "Invalid JSON payload received: contents")


def _response(each: Mapping[str, Any]) -> Json:
    request, metadata = each["request"], each["metadata"]
    if fails(request["contents"]):
        return {"metadata": metadata, "error": {"code": 13, "message": "the model would not"}}
    asked = json.dumps(request["contents"][-1]["parts"])
    schema = request["generationConfig"].get("responseJsonSchema")
    text = sentence(asked) if schema is None else json.dumps(instance(schema, asked))
    content = {"role": "model", "parts": [{"text": THOUGHT, "thought": True}, {"text": text}]}
    usage = {
        "promptTokenCount": count_tokens(asked),
        "candidatesTokenCount": count_tokens(text),
        "thoughtsTokenCount": THOUGHT_TOKENS,
        "totalTokenCount": count_tokens(asked) + count_tokens(text) + THOUGHT_TOKENS,
    }
    candidate = {"content": content, "finishReason": "STOP", "index": 0}
    return {"metadata": metadata, "response": {"candidates": [candidate], "usageMetadata": usage}}
