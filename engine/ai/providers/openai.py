"""OpenAI's batches: a file of requests in, a file of answers and a file of errors out. Other providers do the same."""

from collections.abc import Mapping, Sequence
from typing import Any

from engine.ai.model_info import Usage
from engine.ai.providers.batch_provider import BatchAnswer, BatchRequest, BatchState, BatchStatus
from engine.ai.providers.http import ProviderHttp

_STATES = {
    "completed": BatchState.COMPLETED,
    "failed": BatchState.FAILED,
    "expired": BatchState.EXPIRED,
    "cancelled": BatchState.CANCELLED,
}


class OpenAIBatches:
    def __init__(self, api_key: str, base_url: str = "https://api.openai.com/v1") -> None:
        self._http = ProviderHttp("openai", base_url.rstrip("/"), {"Authorization": f"Bearer {api_key}"})

    def submit(self, requests: Sequence[BatchRequest]) -> str:
        uploaded = self._http.upload("/files", {"purpose": "batch"}, [_line(request) for request in requests])
        batch = self._http.post(
            "/batches",
            {"input_file_id": uploaded["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"},
        )
        return str(batch["id"])

    def status(self, batch_id: str) -> BatchStatus:
        batch = self._http.get(f"/batches/{batch_id}")
        counts = batch.get("request_counts") or {}
        errors = (batch.get("errors") or {}).get("data") or []
        return BatchStatus(
            batch_id=batch_id,
            state=_STATES.get(batch["status"], BatchState.IN_PROGRESS),
            total=counts.get("total", 0),
            succeeded=counts.get("completed", 0),
            failed=counts.get("failed", 0),
            error="; ".join(str(each.get("message")) for each in errors) or None,
        )

    def results(self, batch_id: str) -> Sequence[BatchAnswer]:
        batch = self._http.get(f"/batches/{batch_id}")
        files = [batch[name] for name in ("output_file_id", "error_file_id") if batch.get(name)]
        return [_answer(line) for file in files for line in self._http.get_lines(f"/files/{file}/content")]


def _line(request: BatchRequest) -> dict[str, Any]:
    body: dict[str, Any] = {"model": request.model, "messages": list(request.messages)}
    body["max_completion_tokens"] = request.max_tokens
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.schema is not None:
        wanted = {"name": "answer", "schema": request.schema, "strict": False}
        body["response_format"] = {"type": "json_schema", "json_schema": wanted}
    return {"custom_id": request.id, "method": "POST", "url": "/v1/chat/completions", "body": body}


def _answer(line: Mapping[str, Any]) -> BatchAnswer:
    item, response = line["custom_id"], line.get("response") or {}
    body = response.get("body") or {}
    if line.get("error") or response.get("status_code", 500) >= 400:
        error = line.get("error") or body.get("error") or {}
        return BatchAnswer(id=item, error=str(error.get("message") or error or "no answer"))
    usage = body.get("usage") or {}
    return BatchAnswer(
        id=item,
        text=body["choices"][0]["message"].get("content") or "",
        usage=Usage(
            input_tokens=usage.get("prompt_tokens", 0),
            output_tokens=usage.get("completion_tokens", 0),
            cached_tokens=(usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0,
            reasoning_tokens=(usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0,
        ),
    )
