from datetime import date

import pytest

from engine.ai import (
    AICallRefused,
    ModelFilter,
    ModelInfo,
    Models,
    Price,
    Tier,
    UnknownModel,
    Usage,
    calculate_cost,
    get_model,
    list_models,
)


@pytest.mark.parametrize(
    ("key", "litellm_id", "price"),
    [
        ("gemini-2.5-flash", "gemini/gemini-2.5-flash", 3e-7),
        ("text-embedding-004", "vertex_ai/text-embedding-004", 1e-7),
        ("openai/text-embedding-3-small", "openai/text-embedding-3-small", 2e-8),
        ("voyage-4-large", "voyage/voyage-4-large", 1.2e-7),
    ],
)
def test_the_short_names_of_models_are_known_with_their_prices(key: str, litellm_id: str, price: float) -> None:
    model = get_model(key)
    assert model.id == litellm_id
    assert model.price is not None
    assert model.price.input == price


def test_a_retired_model_names_what_to_use_instead() -> None:
    with pytest.raises(AICallRefused, match="use 'claude-haiku-4-5' instead"):
        Models().get("claude-3-5-haiku-latest")
    gone = Models({"old": ModelInfo(key="old", id="old", provider="openai", retired_on=date(2020, 1, 1))})
    with pytest.raises(AICallRefused, match="retired on 2020-01-01; use "):
        gone.get("old")


def test_an_unknown_price_is_none() -> None:
    assert calculate_cost("nobody/knows", Usage(input_tokens=1)) is None
    with pytest.raises(UnknownModel, match="gpt-4o-mini"):
        get_model("gpt-4o-mimi")


def test_registered_models_win() -> None:
    mine = ModelInfo(key="gpt-4o-mini", id="mine", provider="openai")
    assert Models({"gpt-4o-mini": mine}).get("gpt-4o-mini") == mine


def test_cached_reasoning_and_long_requests_have_their_own_prices() -> None:
    long = Tier(above=1000, input=2.0, output=20.0)
    price = Price(input=1.0, output=10.0, cached_input=0.1, reasoning=30.0, tiers=(long,))
    assert price.of(Usage(input_tokens=10, output_tokens=5, cached_tokens=4, reasoning_tokens=2)) == 6 + 0.4 + 30 + 60
    assert price.of(Usage(input_tokens=1001, output_tokens=1)) == 2022


def test_batches_cost_what_the_list_says_or_half() -> None:
    usage = Usage(input_tokens=1_000_000)
    assert calculate_cost("gpt-4o-mini", usage, batch=True) == pytest.approx(0.075)
    own = ModelInfo(key="m", id="m", provider="p", price=Price(input=2.0))
    assert own.price_in_batches == Price(input=1.0)


def test_models_are_found_by_what_they_can() -> None:
    found = list_models(ModelFilter(provider="openai", mode="embedding", has_price=True))
    assert "text-embedding-3-small" in [model.key for model in found]
    assert all(model.provider == "openai" for model in found)
