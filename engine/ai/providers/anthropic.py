"""Anthropic's message batches."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from engine.ai.messages import file_of
from engine.ai.model_info import Usage
from engine.ai.providers.batch_provider import BatchAnswer, BatchRequest, BatchState, BatchStatus
from engine.ai.providers.http import ProviderHttp
from engine.domain.values import Json


class AnthropicBatches:
    def __init__(self, api_key: str, base_url: str = "https://api.anthropic.com/v1") -> None:
        headers = {"x-api-key": api_key, "anthropic-version": "2023-06-01"}
        self._http = ProviderHttp("anthropic", base_url.rstrip("/"), headers)

    def submit(self, requests: Sequence[BatchRequest]) -> str:
        batch = self._http.post("/messages/batches", {"requests": [_request(each) for each in requests]})
        return str(batch["id"])

    def status(self, batch_id: str) -> BatchStatus:
        batch = self._http.get(f"/messages/batches/{batch_id}")
        counts = batch.get("request_counts") or {}
        failed = sum(counts.get(name, 0) for name in ("errored", "canceled", "expired"))
        succeeded = counts.get("succeeded", 0)
        return BatchStatus(
            batch_id=batch_id,
            state=BatchState.COMPLETED if batch["processing_status"] == "ended" else BatchState.IN_PROGRESS,
            total=succeeded + failed + counts.get("processing", 0),
            succeeded=succeeded,
            failed=failed,
        )

    def results(self, batch_id: str) -> Sequence[BatchAnswer]:
        return [_answer(line) for line in self._http.get_lines(f"/messages/batches/{batch_id}/results")]


def _request(request: BatchRequest) -> dict[str, Any]:
    system = [str(each["content"]) for each in request.messages if each["role"] == "system"]
    if request.schema is not None:
        system.append(f"Answer with JSON that fits this schema, and nothing else: {json.dumps(request.schema)}")
    params: dict[str, Any] = {
        "model": request.model,
        "max_tokens": request.max_tokens,
        "messages": [
            {"role": each["role"], "content": _content(each["content"])}
            for each in request.messages
            if each["role"] != "system"
        ],
    }
    if system:
        params["system"] = "\n".join(system)
    if request.temperature is not None:
        params["temperature"] = min(request.temperature, 1.0)
    return {"custom_id": request.id, "params": params}


def _content(content: Json) -> Json:
    return content if isinstance(content, str) else [_part(part) for part in content]


def _part(part: Mapping[str, Any]) -> Json:
    if part["type"] == "text":
        return {"type": "text", "text": part["text"]}
    media_type, data = file_of(part)
    source = {"type": "base64", "media_type": media_type, "data": data}
    return {"type": "image" if part["type"] == "image_url" else "document", "source": source}


def _answer(line: Mapping[str, Any]) -> BatchAnswer:
    result = line["result"]
    if result["type"] != "succeeded":
        error = result.get("error") or {}
        nested = error.get("error") or error
        return BatchAnswer(id=line["custom_id"], error=str(nested.get("message") or result["type"]))
    message = result["message"]
    usage = message.get("usage") or {}
    cached = usage.get("cache_read_input_tokens") or 0
    return BatchAnswer(
        id=line["custom_id"],
        text="".join(part.get("text", "") for part in message["content"] if part["type"] == "text"),
        usage=Usage(
            input_tokens=usage.get("input_tokens", 0) + cached + (usage.get("cache_creation_input_tokens") or 0),
            output_tokens=usage.get("output_tokens", 0),
            cached_tokens=cached,
        ),
    )
