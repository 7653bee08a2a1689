"""The models that can be called, and their prices."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from difflib import get_close_matches
from functools import cache

from engine.ai.model_info import Mode, ModelInfo, Price, Usage, from_price_list
from engine.ai.price_list import price_list
from engine.domain.errors import AICallRefused, InvalidInput

ALIASES: Mapping[str, str] = {
    "gemini-2.5-flash": "gemini/gemini-2.5-flash",
    "gemini-2.5-flash-lite": "gemini/gemini-2.5-flash-lite",
    "gemini-2.5-pro": "gemini/gemini-2.5-pro",
    "gemini-embedding-001": "gemini/gemini-embedding-001",
    "text-embedding-004": "vertex_ai/text-embedding-004",
    "openai/text-embedding-3-small": "openai/text-embedding-3-small",
    "openai/text-embedding-3-large": "openai/text-embedding-3-large",
    "voyage-4-large": "voyage/voyage-4-large",
    "voyage-4": "voyage/voyage-4",
}
"""Model names that litellm does not know, or would send to another provider than intended."""

SUCCESSORS: Mapping[str, str] = {
    "gemini/text-embedding-004": "gemini-embedding-001",
    "gemini/gemini-1.5-flash": "gemini-2.5-flash",
    "gemini/gemini-1.5-pro": "gemini-2.5-pro",
    "gemini/gemini-2.0-flash": "gemini-2.5-flash",
    "claude-3-5-haiku-latest": "claude-haiku-4-5",
}
"""The replacements of retired models. Some of those are no longer in the price list."""


FAMILIES: Mapping[str, str] = {
    "gpt-": "openai",
    "o1": "openai",
    "o3": "openai",
    "o4": "openai",
    "claude-": "anthropic",
    "gemini-": "gemini",
}
"""Providers by the start of a model's name, for functions that fetch batches without litellm and its price list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFilter:
    """A filter whose conditions must all hold. `text` is a part of the key."""

    text: str | None = None
    provider: str | None = None
    mode: Mode | None = None
    supports_schema: bool | None = None
    supports_tools: bool | None = None
    supports_vision: bool | None = None
    has_price: bool | None = None
    has_batch_price: bool | None = None
    include_retired: bool = False


class UnknownModel(InvalidInput):
    """The model is neither registered nor in the price list."""

    code = "MODEL_NOT_FOUND"


@dataclass(slots=True, eq=False)
class Models:
    """Registered models, then the models of litellm's price list."""

    registered: dict[str, ModelInfo] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def register(self, models: Mapping[str, ModelInfo]) -> None:
        with self.lock:
            self.registered.update(models)

    def find(self, key: str) -> ModelInfo | None:
        """Finds retired models too."""
        return self.registered.get(key) or _listed(key)

    def get(self, key: str, today: date | None = None) -> ModelInfo:
        """The model to call. An unknown one is passed to litellm as it is, without a price.

        Raises `AICallRefused` for a retired model and names its replacement.
        """
        successor = None if key in self.registered else SUCCESSORS.get(ALIASES.get(key, key))
        if successor is not None:
            raise AICallRefused(f"model {key!r} is retired; use {successor!r} instead")
        found = self.find(key)
        if found is None:
            return ModelInfo(key=key, id=key, provider=_provider_by_name(ALIASES.get(key, key)))
        if found.retired_on is not None and found.retired_on < (today or datetime.now(UTC).date()):
            raise AICallRefused(f"model {key!r} was retired on {found.retired_on}; {self._instead(found)}")
        return found

    def list(self, where: ModelFilter, today: date | None = None) -> Sequence[ModelInfo]:
        """Registered and listed models by key."""
        day = today or datetime.now(UTC).date()
        return [each for each in sorted(self._all(), key=lambda model: model.key) if _matches(each, where, day)]

    def _all(self) -> Iterator[ModelInfo]:
        yield from self.registered.values()
        for key in (*ALIASES, *price_list()):
            if key not in self.registered and (listed := _listed(key)) is not None:
                yield listed

    def _instead(self, gone: ModelInfo) -> str:
        alive = self.list(ModelFilter(provider=gone.provider, mode=gone.mode))
        near = get_close_matches(gone.key, [model.key for model in alive], n=1, cutoff=0.0)
        return f"use {near[0]!r} instead" if near else "see `engine models list`"


def _provider_by_name(litellm_id: str) -> str:
    provider, _, name = litellm_id.partition("/")
    if name:
        return provider
    return next((owner for start, owner in FAMILIES.items() if litellm_id.startswith(start)), "unknown")


@cache
def _listed(key: str) -> ModelInfo | None:
    litellm_id = ALIASES.get(key, key)
    listed = price_list()
    entry = listed.get(litellm_id) or listed.get(litellm_id.partition("/")[2])
    if entry is None or entry.get("mode") not in {"chat", "embedding", "responses", "completion"}:
        return None
    return from_price_list(key, litellm_id, entry)


def _matches(model: ModelInfo, where: ModelFilter, today: date) -> bool:
    wanted = {
        "provider": where.provider,
        "mode": where.mode,
        "supports_schema": where.supports_schema,
        "supports_tools": where.supports_tools,
        "supports_vision": where.supports_vision,
    }
    return (
        all(value is None or getattr(model, name) == value for name, value in wanted.items())
        and (where.text is None or where.text.lower() in model.key.lower())
        and (where.has_price is None or (model.price is not None) == where.has_price)
        and (where.has_batch_price is None or (model.batch_price is not None) == where.has_batch_price)
        and (where.include_retired or model.retired_on is None or model.retired_on >= today)
    )


MODELS = Models()
"""The registry that `register_models` and the functions below work on. There is one per process."""


def register_models(models: Mapping[str, ModelInfo]) -> None:
    """Registers models by key. They take precedence over litellm's price list, and later ones over earlier."""
    MODELS.register(models)


def get_model(key: str) -> ModelInfo:
    """Raises `UnknownModel`."""
    found = MODELS.find(key)
    if found is None:
        near = get_close_matches(key, (*MODELS.registered, *ALIASES, *price_list()), n=3)
        hint = f"; near: {', '.join(near)}" if near else "; see `engine models list`"
        raise UnknownModel(f"no model {key!r} is known{hint}")
    return found


def list_models(where: ModelFilter | None = None) -> Sequence[ModelInfo]:
    return MODELS.list(where or ModelFilter())


def calculate_cost(key: str, usage: Usage, *, batch: bool = False, price: Price | None = None) -> float | None:
    """The cost in US dollars; None when the price is unknown."""
    model = MODELS.find(key)
    known = price or (None if model is None else model.price_in_batches if batch else model.price)
    return None if known is None else known.of(usage)
