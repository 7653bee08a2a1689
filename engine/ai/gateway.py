"""The only module that imports litellm. It imports it at the first call of a model."""

import asyncio
import os
import warnings
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from engine.ai.event_loop import at_the_gateway
from engine.ai.messages import (
    CancelledUnsent,
    ChatAnswer,
    ChatRequest,
    Chunk,
    EmbedAnswer,
    EmbedRequest,
    ToolCall,
)
from engine.ai.model_info import ModelInfo, Usage
from engine.domain.errors import AICallFailed, AICallRefused

AGAIN = frozenset({408, 409, 425, 429})
"""Statuses below 500 after which the same request may succeed."""

ONE_TOKENIZER = "gpt-4o"
"""Other tokenizers would have to be downloaded."""

COUNTING_MARGIN = 1.15
"""An upper bound, as a rule, for how many more tokens other providers count for the same text."""


class LiteLLMGateway:
    """Calls every provider through litellm. With `api_base` all calls go to that OpenAI-compatible server."""

    def __init__(self, *, api_base: str | None = None, api_key: str | None = None) -> None:
        self._api_base, self._api_key = api_base, api_key

    async def chat(self, request: ChatRequest) -> ChatAnswer:
        arguments = self._chat_arguments(request)
        return await _sent(self._chat(request.model, arguments), request.model, arguments)

    async def stream(self, request: ChatRequest) -> "LiteLLMStream":
        arguments = self._chat_arguments(request) | {"stream": True, "stream_options": {"include_usage": True}}
        chunks = await _sent(self._open_stream(request.model, arguments), request.model, arguments)
        return LiteLLMStream(chunks, request.model)

    async def embed(self, request: EmbedRequest) -> EmbedAnswer:
        arguments = self._embed_arguments(request)
        return await _sent(self._embed(request.model, arguments), request.model, arguments)

    async def count_tokens(self, texts: Sequence[str]) -> int:
        count: int = litellm().token_counter(model=ONE_TOKENIZER, text="\n".join(texts))
        return round(count * COUNTING_MARGIN) + 8

    async def _chat(self, model: ModelInfo, arguments: Mapping[str, Any]) -> ChatAnswer:
        with translated(model, arguments):
            response = await litellm().acompletion(**arguments)
        choice = response.choices[0]
        message = choice.message
        return ChatAnswer(
            text=message.content or "",
            reasoning=getattr(message, "reasoning_content", None) or "",
            tool_calls=tuple(
                ToolCall(id=call.id, name=call.function.name or "", arguments=call.function.arguments or "{}")
                for call in message.tool_calls or ()
            ),
            finish_reason=choice.finish_reason or "stop",
            usage=_usage(getattr(response, "usage", None)),
        )

    async def _open_stream(self, model: ModelInfo, arguments: Mapping[str, Any]) -> Any:
        with translated(model, arguments):
            return await litellm().acompletion(**arguments)

    async def _embed(self, model: ModelInfo, arguments: Mapping[str, Any]) -> EmbedAnswer:
        with translated(model, arguments):
            response = await litellm().aembedding(**arguments)
        rows = sorted(response.data, key=lambda row: row["index"])
        return EmbedAnswer(vectors=tuple(tuple(row["embedding"]) for row in rows), usage=_usage(response.usage))

    def _embed_arguments(self, request: EmbedRequest) -> dict[str, Any]:
        arguments: dict[str, Any] = {"input": list(request.texts), "drop_params": True, "max_retries": 0}
        if request.dimensions is not None:
            arguments |= {"dimensions": request.dimensions, "allowed_openai_params": ["dimensions"]}
        if request.timeout is not None:
            arguments["timeout"] = request.timeout
        return arguments | {**self._route(request.model), **request.options}

    def _chat_arguments(self, request: ChatRequest) -> dict[str, Any]:
        given = {
            "temperature": request.temperature,
            "max_tokens": request.max_tokens,
            "timeout": request.timeout,
            "tools": list(request.tools) or None,
            "tool_choice": request.tool_choice,
            "response_format": request.response_format,
        }
        arguments = {name: value for name, value in given.items() if value is not None}
        return {
            **arguments,
            "messages": list(request.messages),
            # The engine retries by itself, so that each try is in the ledger. Parameters that a model does not
            # support, such as the default temperature, are left out.
            "max_retries": 0,
            # With tools litellm would import a library for tool servers, which is not one of its dependencies.
            "_skip_mcp_handler": True,
            "drop_params": True,
            **self._route(request.model),
            **request.options,
        }

    def _route(self, model: ModelInfo) -> dict[str, Any]:
        base = model.api_base or self._api_base
        if base is None:
            return {"model": model.id} | ({"api_key": model.api_key} if model.api_key else {})
        return {"model": f"openai/{model.id}", "api_base": base, "api_key": model.api_key or self._api_key or "none"}


class LiteLLMStream:
    def __init__(self, chunks: Any, model: ModelInfo) -> None:
        self._chunks, self._model, self._iterator = chunks, model, chunks.__aiter__()

    async def next(self) -> Chunk | None:
        return await at_the_gateway(self._next())

    async def close(self) -> None:
        await at_the_gateway(self._close())

    async def _next(self) -> Chunk | None:
        with translated(self._model, {}):
            try:
                chunk = await self._iterator.__anext__()
            except StopAsyncIteration:
                return None
        choice = chunk.choices[0] if chunk.choices else None
        delta = getattr(choice, "delta", None)
        return Chunk(
            text=getattr(delta, "content", None) or "",
            reasoning=getattr(delta, "reasoning_content", None) or "",
            finish_reason=getattr(choice, "finish_reason", None),
            usage=_usage(getattr(chunk, "usage", None)),
        )

    async def _close(self) -> None:
        await self._chunks.aclose()


@cache
def litellm() -> Any:
    """litellm, imported at the first call: it takes seconds."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import litellm  # noqa: PLC0415 — slow, and only wanted where a model is called

    # The modules that it imports later print to the terminal too.
    warnings.filterwarnings("ignore", message="Item .* on TypedDict class .* is using the `ReadOnly` qualifier")
    litellm.suppress_debug_info = True
    return litellm


async def _sent[R](work: Coroutine[Any, Any, R], model: ModelInfo, arguments: Mapping[str, Any]) -> R:
    """Raises `CancelledUnsent` for a cancelled call that cannot have left this machine."""
    try:
        return await at_the_gateway(work)
    except asyncio.CancelledError as error:
        if not litellm.cache_info().currsize or _missing_keys(model, arguments):
            raise CancelledUnsent from error
        raise


@contextmanager
def translated(model: ModelInfo, arguments: Mapping[str, Any]) -> Iterator[None]:
    """Translates litellm's errors, which are OpenAI's. `arguments` are those of the request, if there is one."""
    from openai import OpenAIError  # noqa: PLC0415 — comes with litellm

    try:
        yield
    except OpenAIError as error:
        if missing := _missing_keys(model, arguments):
            raise AICallRefused(
                f"there is no key to ask {model.key!r} of {model.provider} with: set {' or '.join(missing)}, or name "
                "an OpenAI-compatible server in ENGINE_AI_BASE_URL; --fake-ai makes answers up"
            ) from error
        raise _translate(error, model) from error


def _missing_keys(model: ModelInfo, arguments: Mapping[str, Any]) -> list[str]:
    """The environment variables of the provider's key, if none of them is set and no other credentials apply."""
    if not arguments or arguments.get("api_key") or arguments.get("api_base"):
        return []
    missing: list[str] = litellm().validate_environment(model=arguments["model"])["missing_keys"]
    name = f"{model.provider.upper()}_API_KEY"
    if not missing and os.environ.get(name) == "":
        # litellm treats it as a key.
        return [name]
    return missing if all(name.endswith("_API_KEY") for name in missing) else []


def _translate(error: Exception, model: ModelInfo) -> AICallFailed:
    from openai import APIConnectionError, APITimeoutError  # noqa: PLC0415 — comes with litellm

    message = f"{model.provider} did not answer {model.key!r}: {_without_key(error)}"
    status = getattr(error, "status_code", None)
    if isinstance(error, APITimeoutError):
        return AICallFailed(message, status=status, may_be_charged=True)
    if isinstance(error, APIConnectionError) or status is None:
        return AICallFailed(message, may_be_charged=not _never_connected(error))
    if status in AGAIN or status >= 500:
        return AICallFailed(message, status=status)
    return AICallRefused(message, status=status)


def _without_key(error: Exception) -> str:
    """The message without the key, which some errors repeat."""
    text = str(getattr(error, "message", error)).splitlines()[0] if str(error) else ""
    return f"{type(error).__name__}: {text[:500]}"


def _never_connected(error: BaseException | None) -> bool:
    while error is not None:
        if type(error).__name__ in {"ConnectError", "ConnectTimeout", "ConnectionRefusedError", "ClientConnectorError"}:
            return True
        error = error.__cause__ or error.__context__
    return False


def _usage(given: Any) -> Usage | None:
    if given is None or not (given.prompt_tokens or getattr(given, "completion_tokens", 0)):
        # litellm reports zeros when the provider reported nothing. A real call has tokens.
        return None
    details_in = _details(getattr(given, "prompt_tokens_details", None))
    details_out = _details(getattr(given, "completion_tokens_details", None))
    return Usage(
        input_tokens=given.prompt_tokens or 0,
        output_tokens=getattr(given, "completion_tokens", 0) or 0,
        cached_tokens=details_in.get("cached_tokens") or 0,
        reasoning_tokens=details_out.get("reasoning_tokens") or 0,
    )


def _details(given: Any) -> Mapping[str, Any]:
    if given is None:
        return {}
    return given if isinstance(given, Mapping) else vars(given)
