import pytest
from pydantic import BaseModel, ValidationError

from engine import (
    AIConfig,
    ConcurrencyConfig,
    DebugConfig,
    FeatureFlagsConfig,
    FullConfig,
    StandardConfig,
    with_ai_config,
    with_concurrency_config,
    with_debug_config,
    with_feature_flags_config,
    with_full_config,
    with_standard_config,
)


class Own(BaseModel):
    topic: str
    model: str = "gemini-2.5-pro"


def test_the_defaults_are_these() -> None:
    assert AIConfig().model_dump() == {"model": "gemini-2.5-flash", "temperature": 0.7, "max_tokens": None}
    assert ConcurrencyConfig().model_dump() == {"concurrency": 5, "delay": 0, "max_retries": 3}
    assert FeatureFlagsConfig().model_dump() == {"feature_flags": {}}
    assert DebugConfig().model_dump() == {"verbose": False, "dry_run": False}


@pytest.mark.parametrize("wrong", [{"temperature": 2.1}, {"temperature": -0.1}, {"max_tokens": 0}])
def test_ai_options_have_limits(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        AIConfig.model_validate(wrong)


def test_standard_is_the_first_three_and_full_all_four() -> None:
    three = {**AIConfig().model_dump(), **ConcurrencyConfig().model_dump(), **FeatureFlagsConfig().model_dump()}
    assert StandardConfig().model_dump() == three
    assert FullConfig().model_dump() == {**three, **DebugConfig().model_dump()}


@pytest.mark.parametrize(
    ("combine", "preset"),
    [
        (with_ai_config, AIConfig),
        (with_concurrency_config, ConcurrencyConfig),
        (with_feature_flags_config, FeatureFlagsConfig),
        (with_debug_config, DebugConfig),
        (with_standard_config, StandardConfig),
        (with_full_config, FullConfig),
    ],
)
def test_a_preset_is_added_to_a_model_whose_own_fields_win(combine: object, preset: type[BaseModel]) -> None:
    combined = combine(Own)  # type: ignore[operator]  # one of the functions above
    assert issubclass(combined, Own)
    assert combined(topic="t").model_dump() == {**preset().model_dump(), "topic": "t", "model": "gemini-2.5-pro"}
