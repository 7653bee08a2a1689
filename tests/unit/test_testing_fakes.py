import subprocess
import sys
from datetime import timedelta
from uuid import UUID

import pytest

from engine.testing import CollectingEventSink, FakeClock, FixedIds, NoopScheduler
from engine.testing.contracts.rows import an_event, at


def test_the_fake_clock_moves_when_told() -> None:
    clock = FakeClock()
    assert clock.now() == clock.now() == at(0)
    assert clock.advance(1.5) == at(1.5)
    assert clock.advance(timedelta(minutes=1)) == clock.now() == at(61.5)


def test_fixed_ids_are_the_same_each_time_and_sort() -> None:
    one, same, other = FixedIds(1), FixedIds(1), FixedIds(2)
    made = [one.new() for _ in range(20)]
    assert made == [same.new() for _ in range(20)] == sorted(made)
    assert UUID(made[0]).version == 7
    assert other.new() not in made
    assert (one.token(), one.random()) == (same.token(), same.random())


def test_the_collecting_sink_fails_as_often_as_it_is_told() -> None:
    sink = CollectingEventSink()
    sink.failures.append(RuntimeError("refused"))
    with pytest.raises(RuntimeError):
        sink.emit(an_event())
    sink.emit(an_event())
    assert sink.types() == ["workflow:created"]


def test_the_noop_scheduler_remembers_who_asked() -> None:
    scheduler = NoopScheduler()
    scheduler.wake({"type": "run.reconcile"}, at(5))
    assert scheduler.wakes == [({"type": "run.reconcile"}, at(5))]


def test_the_fakes_need_no_test_framework() -> None:
    code = "import sys, engine.testing; sys.exit('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
