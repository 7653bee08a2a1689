import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID

import pytest

from engine.adapters.system import SystemClock, SystemIds
from engine.testing.contracts.threads import together


def test_the_time_is_aware_and_in_utc() -> None:
    now = SystemClock().now()
    assert now.utcoffset() == timedelta(0)
    assert abs(now - datetime.now(UTC)) < timedelta(seconds=5)


def test_an_id_is_a_uuid_of_version_7_that_begins_with_the_time() -> None:
    before = time.time_ns() // 1_000_000
    made = UUID(SystemIds().new())
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert before <= made.int >> 80 <= time.time_ns() // 1_000_000


def test_ids_sort_in_order_of_creation() -> None:
    ids = SystemIds()
    made = [ids.new() for _ in range(20_000)]
    assert all(earlier < later for earlier, later in pairwise(made))


def test_ids_of_threads_that_race_are_unique() -> None:
    ids = SystemIds()
    made = together([lambda: [ids.new() for _ in range(2000)]] * 8)
    assert len({each for part in made for each in part}) == 16_000


def test_ids_go_on_when_the_clock_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([2_000_000_000_000_000, 1_000_000_000_000_000, 2_000_000_001_000_000])
    monkeypatch.setattr(time, "time_ns", lambda: next(times))
    ids = SystemIds()
    made = [ids.new() for _ in range(3)]
    assert made == sorted(made)
    assert len({UUID(each).int >> 80 for each in made}) == 2


def test_an_overflow_within_a_millisecond_borrows_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 5_000_000)
    ids = SystemIds()
    first = ids.new()
    ids._last_random = (1 << 74) - 1
    second = ids.new()
    assert first < second
    assert UUID(second).int >> 80 == 6


def test_tokens_are_long_and_differ() -> None:
    ids = SystemIds()
    tokens = {ids.token() for _ in range(100)}
    assert len(tokens) == 100
    assert min(map(len, tokens)) >= 32


def test_randomness_is_below_one() -> None:
    ids = SystemIds()
    assert all(0 <= ids.random() < 1 for _ in range(1000))
