"""A model's names, prices and capabilities."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal, Self

MONEY_DIGITS = 12
"""Decimals of a dollar that are stored, far below the price of one token."""

type Mode = Literal["chat", "embedding"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one or several calls. Input includes cached ones, output includes reasoning.

    `estimated`: the engine counted them, because the provider reported none.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Self) -> "Usage":
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
            estimated=self.estimated or other.estimated,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """Other prices for a request with more input tokens than `above`."""

    above: int
    input: float
    output: float
    cached_input: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """US dollars per token. Cached input costs as input, and reasoning as output, unless they have their own price."""

    input: float
    output: float = 0.0
    cached_input: float | None = None
    reasoning: float | None = None
    tiers: tuple[Tier, ...] = ()

    def of(self, usage: Usage) -> float:
        """The cost in US dollars, to 12 decimals."""
        tier = max((each for each in self.tiers if usage.input_tokens > each.above), key=_above, default=None)
        rate_in, rate_out = (tier.input, tier.output) if tier else (self.input, self.output)
        cached = tier.cached_input if tier else self.cached_input
        reasoning = None if tier else self.reasoning
        plain_in, plain_out = usage.input_tokens - usage.cached_tokens, usage.output_tokens - usage.reasoning_tokens
        total = plain_in * rate_in + usage.cached_tokens * (rate_in if cached is None else cached)
        total += plain_out * rate_out + usage.reasoning_tokens * (rate_out if reasoning is None else reasoning)
        return round(total, MONEY_DIGITS)

    def scaled(self, factor: float) -> "Price":
        """All prices times the factor."""
        return Price(
            input=self.input * factor,
            output=self.output * factor,
            cached_input=None if self.cached_input is None else self.cached_input * factor,
            reasoning=None if self.reasoning is None else self.reasoning * factor,
        )

    def to_json(self) -> dict[str, float | None]:
        """The price without tiers, for batches: their price is fixed when they are submitted."""
        return {
            "input": self.input,
            "output": self.output,
            "cached_input": self.cached_input,
            "reasoning": self.reasoning,
        }


def _above(tier: Tier) -> int:
    return tier.above


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """A model. Stages name it by `key`; `id` is litellm's name. `price` None means unknown, never free.

    `batch_price` defaults to half the price if the provider has batches. `api_base` and `api_key` direct the model's
    calls to another server. A `provider` of `register_embedding_provider` is not called through litellm.
    """

    key: str
    id: str
    provider: str
    mode: Mode = "chat"
    price: Price | None = None
    batch_price: Price | None = None
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None
    supports_schema: bool = False
    supports_tools: bool = False
    supports_vision: bool = False
    supports_reasoning: bool = False
    retired_on: date | None = None
    api_base: str | None = None
    api_key: str | None = field(default=None, repr=False)

    @property
    def price_in_batches(self) -> Price | None:
        if self.batch_price is not None or self.price is None:
            return self.batch_price
        return self.price.scaled(BATCH_DISCOUNT)


BATCH_DISCOUNT = 0.5
"""The share of the price that all three providers charge for a batch, if the price list has no batch price."""


def from_price_list(key: str, litellm_id: str, entry: Mapping[str, Any]) -> ModelInfo:
    """A model from an entry of litellm's price list."""
    retired = entry.get("deprecation_date")
    return ModelInfo(
        key=key,
        id=litellm_id,
        provider=_provider(str(entry.get("litellm_provider", ""))),
        mode="embedding" if entry.get("mode") == "embedding" else "chat",
        price=_price(entry, ""),
        batch_price=_price(entry, "_batches"),
        max_input_tokens=_count(entry.get("max_input_tokens")),
        max_output_tokens=_count(entry.get("max_output_tokens")),
        supports_schema=bool(entry.get("supports_response_schema")),
        supports_tools=bool(entry.get("supports_function_calling")),
        supports_vision=bool(entry.get("supports_vision")),
        supports_reasoning=bool(entry.get("supports_reasoning")),
        retired_on=date.fromisoformat(retired) if isinstance(retired, str) else None,
    )


def _provider(listed: str) -> str:
    """The price list splits providers that litellm addresses by one name, such as `vertex_ai-embedding-models`."""
    return "vertex_ai" if listed.startswith("vertex_ai") else listed


def _count(value: object) -> int | None:
    return int(value) if isinstance(value, int | float) else None


def _price(entry: Mapping[str, Any], suffix: str) -> Price | None:
    cost_in = entry.get(f"input_cost_per_token{suffix}")
    cost_out = entry.get(f"output_cost_per_token{suffix}")
    if cost_in is None or (cost_out is None and entry.get("mode") != "embedding"):
        return None
    return Price(
        input=cost_in,
        output=cost_out or 0.0,
        cached_input=entry.get(f"cache_read_input_token_cost{suffix}"),
        reasoning=None if suffix else entry.get("output_cost_per_reasoning_token"),
        tiers=tuple(_tiers(entry, suffix)),
    )


def _tiers(entry: Mapping[str, Any], suffix: str) -> list[Tier]:
    found = []
    for name, cost_in in entry.items():
        before, _, rest = name.partition("_above_")
        size, _, end = rest.partition("k_tokens")
        if before != "input_cost_per_token" or not size.isdigit() or end != suffix:
            continue
        above = f"_above_{size}k_tokens{suffix}"
        cost_out = entry.get(f"output_cost_per_token{above}", entry.get("output_cost_per_token", 0.0))
        cached = entry.get(f"cache_read_input_token_cost{above}")
        found.append(Tier(above=int(size) * 1000, input=cost_in, output=cost_out, cached_input=cached))
    return found
