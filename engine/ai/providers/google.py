"""Google's Gemini batches. The requests are sent inline."""

from collections.abc import Mapping, Sequence
from typing import Any

from engine.ai.messages import file_of
from engine.ai.model_info import Usage
from engine.ai.providers.batch_provider import BatchAnswer, BatchRequest, BatchState, BatchStatus
from engine.ai.providers.http import ProviderHttp
from engine.domain.values import Json

_STATES = {
    "SUCCEEDED": BatchState.COMPLETED,
    "FAILED": BatchState.FAILED,
    "CANCELLED": BatchState.CANCELLED,
    "EXPIRED": BatchState.EXPIRED,
}


class GoogleBatches:
    def __init__(self, api_key: str, base_url: str = "https://generativelanguage.googleapis.com/v1beta") -> None:
        self._http = ProviderHttp("google", base_url.rstrip("/"), {"x-goog-api-key": api_key})

    def submit(self, requests: Sequence[BatchRequest]) -> str:
        inlined = [{"request": _request(each), "metadata": {"key": each.id}} for each in requests]
        batch = {"display_name": "serverless-workflow-engine", "input_config": {"requests": {"requests": inlined}}}
        operation = self._http.post(f"/models/{requests[0].model}:batchGenerateContent", {"batch": batch})
        return str(operation["name"])

    def status(self, batch_id: str) -> BatchStatus:
        operation = self._http.get(f"/{batch_id}")
        metadata = operation.get("metadata") or {}
        stats = metadata.get("batchStats") or {}
        state = str(metadata.get("state", "")).removeprefix("BATCH_STATE_").removeprefix("JOB_STATE_")
        return BatchStatus(
            batch_id=batch_id,
            state=_STATES.get(state, BatchState.IN_PROGRESS),
            total=int(stats.get("requestCount", 0)),
            succeeded=int(stats.get("successfulRequestCount", 0)),
            failed=int(stats.get("failedRequestCount", 0)),
            error=(operation.get("error") or {}).get("message"),
        )

    def results(self, batch_id: str) -> Sequence[BatchAnswer]:
        operation = self._http.get(f"/{batch_id}")
        response = operation.get("response") or (operation.get("metadata") or {}).get("output") or {}
        inlined = (response.get("inlinedResponses") or {}).get("inlinedResponses") or []
        return [_answer(each) for each in inlined]


def _request(request: BatchRequest) -> dict[str, Json]:
    config: dict[str, Json] = {"maxOutputTokens": request.max_tokens}
    if request.temperature is not None:
        config["temperature"] = request.temperature
    if request.schema is not None:
        config |= {"responseMimeType": "application/json", "responseJsonSchema": request.schema}
    system = [{"text": each["content"]} for each in request.messages if each["role"] == "system"]
    messages = [each for each in request.messages if each["role"] != "system"]
    contents = [{"role": _role(each), "parts": _parts(each["content"])} for each in messages]
    instruction = {"systemInstruction": {"parts": system}} if system else {}
    return {"contents": contents, "generationConfig": config, **instruction}


def _role(message: Mapping[str, Any]) -> str:
    return "model" if message["role"] == "assistant" else "user"


def _parts(content: Json) -> list[Json]:
    if isinstance(content, str):
        return [{"text": content}]
    return [_part(part) for part in content]


def _part(part: Mapping[str, Any]) -> Json:
    if part["type"] == "text":
        return {"text": part["text"]}
    media_type, data = file_of(part)
    return {"inlineData": {"mimeType": media_type, "data": data}}


def _answer(each: Mapping[str, Any]) -> BatchAnswer:
    item = str((each.get("metadata") or {}).get("key", ""))
    response = each.get("response") or {}
    candidates = response.get("candidates") or []
    if each.get("error") or not candidates:
        return BatchAnswer(id=item, error=str((each.get("error") or {}).get("message") or "no answer"))
    usage = response.get("usageMetadata") or {}
    thoughts = usage.get("thoughtsTokenCount", 0)
    parts = (candidates[0].get("content") or {}).get("parts") or []
    return BatchAnswer(
        id=item,
        text="".join(part.get("text", "") for part in parts if not part.get("thought")),
        usage=Usage(
            input_tokens=usage.get("promptTokenCount", 0),
            output_tokens=usage.get("candidatesTokenCount", 0) + thoughts,
            cached_tokens=usage.get("cachedContentTokenCount", 0),
            reasoning_tokens=thoughts,
        ),
    )
