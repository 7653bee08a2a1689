from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from engine import InvalidStageData, NotReady, Ready, StageResult, Suspended, SuspendedState

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_only_the_batch_id_is_required_to_suspend() -> None:
    suspended = Suspended("b-1")
    state = suspended.state(NOW)
    assert (state.batch_id, state.submitted_at, state.poll_interval, state.max_wait) == ("b-1", NOW, 30, 86_400)
    assert suspended.first_poll(NOW) == NOW + timedelta(seconds=30)
    assert state.deadline == NOW + timedelta(hours=24)


def test_durations_are_timedeltas_or_seconds() -> None:
    suspended = Suspended("b-1", poll_interval=timedelta(minutes=1), max_wait=3600)
    assert (suspended.state(NOW).poll_interval, suspended.state(NOW).max_wait) == (60, 3600)


def test_given_times_win_over_the_defaults() -> None:
    suspended = Suspended("b-1", submitted_at=NOW - timedelta(hours=1), next_poll_at=NOW + timedelta(hours=1))
    assert suspended.state(NOW).submitted_at == NOW - timedelta(hours=1)
    assert suspended.first_poll(NOW) == NOW + timedelta(hours=1)


def test_the_state_survives_json_unchanged() -> None:
    state = Suspended("b-1", metadata={"file": "f", "parts": [1, {"a": None}]}).state(NOW)
    assert SuspendedState.model_validate_json(state.model_dump_json()) == state
    assert SuspendedState.model_validate(state.model_dump(mode="json")) == state


@pytest.mark.parametrize(
    ("wrong", "cause"),
    [
        ({"batch_id": ""}, "batch_id must be a text"),
        ({"batch_id": 7}, "batch_id must be a text"),
        ({"poll_interval": 0}, "poll_interval must be more than 0"),
        ({"poll_interval": -1}, "poll_interval must be zero or more"),
        ({"max_wait": float("nan")}, "max_wait must be zero or more"),
        ({"max_wait": "1h"}, "max_wait must be a timedelta or a number"),
        ({"next_poll_at": datetime(2026, 1, 1)}, "next_poll_at must have a time zone"),  # noqa: DTZ001 — what this tests
        ({"submitted_at": datetime(2026, 1, 1)}, "submitted_at must have a time zone"),  # noqa: DTZ001 — what this tests
        ({"metadata": {"x": object()}}, "Unable to serialize"),
        ({"custom_metrics": {"x": float("inf")}}, "x: NaN and infinities"),
    ],
)
def test_a_suspension_that_cannot_be_stored_or_polled_is_invalid(wrong: dict[str, Any], cause: str) -> None:
    with pytest.raises(InvalidStageData, match=f"Suspended.*{cause}"):
        Suspended(**{"batch_id": "b-1", **wrong})


def test_not_ready_says_when_to_look_again_in_seconds() -> None:
    assert NotReady().seconds is None
    assert NotReady(next_check_in=timedelta(minutes=2)).seconds == 120
    with pytest.raises(InvalidStageData, match="NotReady: next_check_in"):
        NotReady(next_check_in=-1)


def test_metrics_are_kept_as_json() -> None:
    assert StageResult(1, custom_metrics={"at": NOW}).custom_metrics == {"at": "2026-01-01T12:00:00Z"}
    assert Ready(1, metrics={"price": Decimal("1.5")}, embeddings={"count": 3}).metrics == {"price": "1.5"}


def test_metrics_that_cannot_be_stored_are_invalid_where_they_are_given() -> None:
    with pytest.raises(InvalidStageData, match=r"StageResult\(custom_metrics=…\): loss: NaN and infinities"):
        StageResult(1, custom_metrics={"loss": float("nan")})
    with pytest.raises(InvalidStageData, match=r"Ready\(embeddings=…\): Unable to serialize"):
        Ready(1, embeddings={"model": object()})
