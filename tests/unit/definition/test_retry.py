from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import DefinitionError, InvalidStageData, MissingStageOutput, RetryPolicy, StageCancelled


def test_waits_start_at_initial_and_grow_by_the_factor_up_to_the_maximum() -> None:
    policy = RetryPolicy(initial=2, factor=3, max=timedelta(seconds=10))
    assert [policy.delay(attempt, 0.0) for attempt in (1, 2, 3, 4)] == [2, 6, 10, 10]


@given(attempt=st.integers(1, 10_000), random=st.floats(0, 1), jitter=st.floats(0, 1))
def test_jitter_only_adds_and_never_passes_its_share_or_the_maximum(attempt: int, random: float, jitter: float) -> None:
    policy = RetryPolicy(initial=1, max=60, jitter=jitter)
    plain = policy.delay(attempt, 0.0)
    assert plain <= policy.delay(attempt, random) <= min(plain * (1 + jitter), 60)


def test_any_exception_is_retried_by_default() -> None:
    assert RetryPolicy().allows(ValueError())
    assert not RetryPolicy().allows(KeyboardInterrupt())


def test_retry_on_and_give_up_on_choose_the_errors() -> None:
    policy = RetryPolicy(retry_on=(OSError,), give_up_on=(FileNotFoundError,))
    assert policy.allows(TimeoutError())
    assert not policy.allows(FileNotFoundError())
    assert not policy.allows(ValueError())


@pytest.mark.parametrize("error", [InvalidStageData("x"), StageCancelled("x"), MissingStageOutput("a", [])])
def test_what_another_attempt_cannot_help_is_never_retried(error: Exception) -> None:
    assert not RetryPolicy(retry_on=(Exception,)).allows(error)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_attempts": 0},
        {"max_attempts": 1.5},
        {"max_attempts": True},
        {"initial": -1},
        {"initial": "2"},
        {"factor": 0.5},
        {"initial": 10, "max": 5},
        {"jitter": 2},
        {"retry_on": ValueError},
        {"give_up_on": ("ValueError",)},
    ],
)
def test_an_impossible_policy_is_refused_naming_the_option(wrong: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match=f"RetryPolicy: .*{list(wrong)[-1]}"):
        RetryPolicy(**wrong)
