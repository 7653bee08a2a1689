from collections.abc import Callable
from datetime import datetime
from functools import partial

import pytest

from engine.domain.events import Event
from engine.kernel import OutboxFlush, PluginReplayDLQ, PluginRunner, define_plugin
from engine.testing import CollectingEventSink, FakeClock, FixedIds, TestKernel
from engine.testing.contracts.threads import together
from tests.kernel.stores import MakeBench, in_databases
from tests.kernel.workflows import ONCE, boom, pipeline, stage


class DoingSomethingMeanwhile(CollectingEventSink):
    """Runs a function while it receives the first event."""

    meanwhile: Callable[[], object] | None = None

    def emit(self, event: Event, *, skip: frozenset[str] = frozenset()) -> None:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        super().emit(event, skip=skip)


@pytest.mark.failure(9)
def test_a_flush_during_a_flush_publishes_nothing_twice(make_bench: MakeBench) -> None:
    """A flusher claims the first open event of a run, and with it the run."""
    sink = DoingSomethingMeanwhile()
    bench = make_bench(pipeline(stage()), event_sink=sink)
    run_id = bench.create()
    others: list[int] = []
    sink.meanwhile = lambda: others.extend(bench.publish(which).published for which in (run_id, None))
    assert bench.publish(run_id).published == 2
    assert others == [0, 0]
    assert sink.types() == ["workflow:created", "workflow:started"]


@pytest.mark.failure(9)
@in_databases
def test_three_flushers_at_once_publish_each_event_once_and_in_order(make_bench: MakeBench) -> None:
    """Three threads flush at the same time."""
    sink = CollectingEventSink()
    benches = [make_bench(pipeline(stage()), event_sink=sink) for _ in range(3)]
    runs = [benches[0].create() for _ in range(6)]
    benches[0].host.process_available_jobs(max_jobs=3)
    together([partial(bench.dispatch, OutboxFlush()) for bench in benches])
    benches[0].publish()
    for run_id in runs:
        published = [event.sequence for event in sink.events if event.workflow_run_id == run_id]
        assert published == list(range(1, len(benches[0].told(run_id)) + 1))


@pytest.mark.failure(11)
def test_events_look_the_same_from_every_store(make_bench: MakeBench) -> None:
    """Types, values and wire form equal those of the memory store."""
    workflow = pipeline(stage(), stage("b", boom, retry=ONCE))
    stored = make_bench(workflow, ids=FixedIds(7))
    memory = TestKernel(workflow, clock=FakeClock(), ids=FixedIds(7))
    for kernel in (stored, memory):
        kernel.clock.advance(0.123456)
        kernel.run("w", {"text": "ü", "float": 1.0, "none": None})
    assert stored.events.events == memory.events.events
    wire = [event.model_dump_json() for event in stored.events.events]
    assert wire == [event.model_dump_json() for event in memory.events.events]
    assert all(type(event.timestamp) is datetime for event in stored.events.events)
    assert '"timestamp":"2026-01-01T12:00:00.123456Z"' in wire[0]


@pytest.mark.failure(21)
def test_a_replayed_dead_letter_arrives_late_and_only_where_it_failed(make_bench: MakeBench) -> None:
    """A dead event lets later ones pass; plugins that had it do not receive it again."""
    seen: list[str] = []
    broken = True

    def fail_on_started(event: Event) -> None:
        if broken and event.type == "workflow:started":
            raise ValueError("not today")
        seen.append(f"fragile {event.type}")

    on = ["workflow:created", "workflow:started", "workflow:completed"]
    sturdy = define_plugin(id="sturdy", name="Sturdy", on=on, handle=lambda event: seen.append(f"sturdy {event.type}"))
    fragile = define_plugin(id="fragile", name="Fragile", on=on, handle=fail_on_started)
    bench = make_bench(pipeline(stage()), event_sink=PluginRunner([sturdy, fragile], max_retries=2))
    run_id = bench.create()
    bench.work()
    first = bench.publish(run_id)
    assert (first.published, first.failed, first.dead_lettered) == (1, 1, 0)
    bench.clock.advance(5)
    second = bench.publish(run_id)
    assert (second.published, second.failed, second.dead_lettered) == (3, 0, 1)
    broken = False
    assert bench.dispatch(PluginReplayDLQ()).replayed == 1
    assert bench.publish(run_id).published == 1
    assert seen == [
        "sturdy workflow:created",
        "fragile workflow:created",
        "sturdy workflow:started",
        "sturdy workflow:completed",
        "fragile workflow:completed",
        "fragile workflow:started",
    ]


@pytest.mark.failure(21)
@pytest.mark.parametrize("wait", [4, 5])
def test_a_refused_event_holds_back_the_later_ones_of_its_run_only(make_bench: MakeBench, wait: int) -> None:
    """The later events of the run wait until the backoff is over; other runs do not wait."""
    sink = CollectingEventSink()
    bench = make_bench(pipeline(stage()), event_sink=sink)
    first, second = bench.create(), bench.create()
    sink.failures = [ValueError("no")]
    counts = bench.publish()
    assert (counts.published, counts.failed) == (2, 1)
    assert {event.workflow_run_id for event in sink.events} == {second}
    bench.clock.advance(wait)
    assert bench.publish().published == (2 if wait == 5 else 0)
    if wait == 5:
        assert [event.sequence for event in sink.events if event.workflow_run_id == first] == [1, 2]
