from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import takewhile

import pytest

from engine.domain.errors import DefinitionError, StoreUnavailable
from engine.domain.events import Event, WorkflowCreated
from engine.domain.values import Json
from engine.kernel import CompositeSink, OutboxFlush, PluginReplayDLQ, PluginRunner, RunRerunFrom, define_plugin
from engine.ports.event_sink import EventSink, PartiallyDelivered, SinkUnavailable
from engine.testing import CollectingEventSink, FakeClock, InMemoryBlobStore
from tests.kernel.bench import Bench
from tests.kernel.stores import MakeBench, in_memory
from tests.kernel.workflows import pipeline, stage

CREATED = ["workflow:created"]


def counts(bench: Bench, run_id: str | None = None) -> tuple[int, int, int]:
    result = bench.publish(run_id)
    return result.published, result.failed, result.dead_lettered


def test_events_are_published_once_in_order_with_stable_ids(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage(), stage("b")))
    run_id = bench.create()
    bench.work()
    bench.publish()
    bench.work()
    bench.publish()
    assert bench.publish().published == 0
    assert bench.events.types() == bench.told(run_id)
    assert [event.id for event in bench.events.events] == [f"{run_id}.{n}" for n in range(1, 8)]
    assert bench.reads.backlog() == (0, None)


def test_events_carry_what_caused_them(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage()))
    run_id = bench.create(idempotency_key="cause")
    assert {event.causation_id for event in bench.reads.events(run_id)} == {"cause"}


def test_a_flush_stops_at_its_limit(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage()))
    for _ in range(3):
        bench.create()
    assert bench.dispatch(OutboxFlush(max_events=4)).published == 4
    assert bench.dispatch(OutboxFlush(max_events=4)).published == 2


def test_a_refused_event_waits_five_seconds_then_ten_then_dies(make_bench: MakeBench) -> None:
    sink = CollectingEventSink()
    bench = make_bench(pipeline(stage()), event_sink=sink)
    run_id = bench.create()
    for wait in (5, 10):
        sink.failures = [ValueError(f"refused before {wait}")]
        assert counts(bench) == (0, 1, 0)
        bench.clock.advance(wait - 1)
        assert counts(bench) == counts(bench, run_id) == (0, 0, 0)
        bench.clock.advance(1)
    sink.failures = [ValueError("refused for good")]
    assert counts(bench) == (1, 0, 1)
    (dead,) = bench.reads.dead_letters()
    assert (dead.sequence, dead.retry_count, dead.last_error) == (1, 3, "refused for good")
    assert sink.types() == ["workflow:started"]
    assert [event.sequence for event in bench.reads.events(run_id)] == [1, 2]


@pytest.mark.parametrize("error", [SinkUnavailable("throttled"), StoreUnavailable("no blobs")], ids=["sink", "blobs"])
def test_an_unreachable_sink_is_tried_for_ever_less_and_less_often(make_bench: MakeBench, error: Exception) -> None:
    sink = CollectingEventSink()
    bench = make_bench(pipeline(stage()), event_sink=sink)
    run_id = bench.create()
    waits = []
    for _ in range(13):
        sink.failures = [error]
        assert counts(bench) == (0, 1, 0)
        first = bench.reads.events(run_id)[0]
        assert (first.retry_count, first.dlq_at) == (0, None)
        assert first.next_attempt_at is not None
        waits.append(first.next_attempt_at - bench.clock.now())
        bench.clock.advance(waits[-1])
    assert [wait.total_seconds() for wait in waits[:5]] == [5, 5, 10, 20, 40]
    assert max(waits) == timedelta(hours=1)
    assert counts(bench) == (2, 0, 0)


class InBatches(CollectingEventSink):
    """Takes two events in one call. Those whose type is in `refused` do not arrive, together or alone."""

    def __init__(self, refused: frozenset[str] = frozenset()) -> None:
        super().__init__(max_retries=1)
        self.refused, self.calls = refused, 0

    def emit_first(self, events: Sequence[Event]) -> int:
        self.calls += 1
        arrived = list(takewhile(lambda event: event.type not in self.refused, events[:2]))
        self.events.extend(arrived)
        return len(arrived)

    def emit(self, event: Event, *, skip: frozenset[str] = frozenset()) -> None:
        self.calls += 1
        if event.type in self.refused:
            raise ValueError("refused")
        super().emit(event, skip=skip)


def test_a_sink_of_batches_gets_several_events_at_once(make_bench: MakeBench) -> None:
    sink = InBatches()
    bench = make_bench(pipeline(stage()), event_sink=sink)
    run_id = bench.create()
    bench.work()
    assert counts(bench) == (5, 0, 0)
    assert sink.calls == 3, "two, two and the last one by itself"
    assert sink.types() == bench.told(run_id)


def test_an_event_refused_among_others_is_tried_by_itself_and_the_later_ones_follow(make_bench: MakeBench) -> None:
    sink = InBatches(frozenset({"stage:started"}))
    bench = make_bench(pipeline(stage()), event_sink=sink)
    run_id = bench.create()
    bench.work()
    assert counts(bench) == (4, 0, 1)
    assert sink.types() == [told for told in bench.told(run_id) if told != "stage:started"]
    assert [dead.last_error for dead in bench.reads.dead_letters()] == ["refused"]


class Away(InMemoryBlobStore):
    away = False

    def get(self, key: str) -> Json:
        if self.away:
            raise StoreUnavailable("no blobs")
        return super().get(key)


def test_an_event_that_cannot_be_read_is_no_part_of_a_batch(make_bench: MakeBench) -> None:
    sink, blobs = InBatches(), Away()
    bench = make_bench(pipeline(stage(body=lambda _: "x" * 10_000)), event_sink=sink, blob_store=blobs)
    run_id = bench.create()
    bench.work()
    blobs.away = True
    assert counts(bench) == (4, 1, 0)
    blobs.away = False
    bench.clock.advance(10)
    assert counts(bench) == (1, 0, 0)
    assert sink.types() == bench.told(run_id)


def test_a_held_back_run_asks_to_be_flushed_again(make_bench: MakeBench) -> None:
    sink = CollectingEventSink()
    bench = make_bench(pipeline(stage()), event_sink=sink)
    run_id = bench.create()
    sink.failures = [ValueError("no")]
    bench.publish()
    bench.clock.advance(5)
    assert bench.wakes() == [{"type": "outbox.flush", "workflow_run_id": run_id}]


def test_a_flusher_that_died_is_replaced_when_its_claim_runs_out(make_bench: MakeBench) -> None:
    class Dies(CollectingEventSink):
        alive = True

        def emit(self, event: Event, *, skip: frozenset[str] = frozenset()) -> None:
            was_alive, self.alive = self.alive, False
            if was_alive:
                raise KeyboardInterrupt
            super().emit(event, skip=skip)

    bench = make_bench(pipeline(stage()), event_sink=Dies())
    bench.create()
    with pytest.raises(KeyboardInterrupt):
        bench.publish()
    bench.clock.advance(59)
    assert counts(bench) == (0, 0, 0)
    bench.clock.advance(1)
    assert counts(bench) == (2, 0, 0)


def test_a_late_flusher_marks_nothing_as_published(make_bench: MakeBench) -> None:
    class Slow(CollectingEventSink):
        meanwhile: Callable[[], object] | None = None

        def emit(self, event: Event, *, skip: frozenset[str] = frozenset()) -> None:
            super().emit(event, skip=skip)
            meanwhile, self.meanwhile = self.meanwhile, None
            if meanwhile is not None:
                meanwhile()

    sink = Slow()
    bench = make_bench(pipeline(stage()), event_sink=sink)
    run_id = bench.create()

    def lose_the_claim() -> None:
        bench.clock.advance(61)
        assert counts(bench) == (2, 0, 0)

    sink.meanwhile = lose_the_claim
    assert counts(bench) == (0, 0, 0)
    # The flusher that took the claim over may have died.
    bench.clock.advance(60)
    assert {"type": "outbox.flush", "workflow_run_id": run_id} in bench.wakes()


def test_dead_letters_come_back_by_type_with_a_new_count(make_bench: MakeBench) -> None:
    sink = CollectingEventSink(max_retries=1)
    bench = make_bench(pipeline(stage()), event_sink=sink)
    bench.create()
    sink.failures = [ValueError("a"), ValueError("b")]
    assert counts(bench) == (0, 0, 2)
    assert bench.dispatch(PluginReplayDLQ(event_type="workflow:created")).replayed == 1
    assert counts(bench) == (1, 0, 0)
    assert sink.types() == CREATED
    assert bench.dispatch(PluginReplayDLQ(max_events=5)).replayed == 1
    assert bench.dispatch(PluginReplayDLQ()).replayed == 0
    assert counts(bench) == (1, 0, 0)


def test_plugins_get_what_they_asked_for_in_order_of_registration(make_bench: MakeBench) -> None:
    seen: list[str] = []

    @define_plugin(id="first", name="First", on=CREATED)
    async def first(event: Event) -> None:
        seen.append(f"first {event.type}")

    @define_plugin(id="second", name="Second", on=["workflow:started", *CREATED])
    def second(event: Event) -> None:
        seen.append(f"second {event.type}")

    bench = make_bench(pipeline(stage()), event_sink=PluginRunner([first, second]))
    bench.create()
    bench.publish()
    assert seen == ["first workflow:created", "second workflow:created", "second workflow:started"]


def test_a_wrong_plugin_is_refused_where_it_is_defined() -> None:
    with pytest.raises(DefinitionError, match="unknown event types"):
        define_plugin(id="p", name="P", on=["workflow:exploded"], handle=print)
    with pytest.raises(DefinitionError, match="are needed"):
        define_plugin(id="p", name="P", on=[], handle=print)
    plugin = define_plugin(id="p", name="P", on=CREATED, handle=print)
    with pytest.raises(DefinitionError, match="more than once: p"):
        PluginRunner([plugin, plugin])


def failing(times: int, seen: list[str], name: str) -> Callable[[Event], None]:
    left = [times]

    def handle(event: Event) -> None:
        if left[0]:
            left[0] -= 1
            raise ValueError(f"{name} failed")
        seen.append(f"{name} {event.type}")

    return handle


def test_sinks_that_had_an_event_do_not_get_it_again(make_bench: MakeBench) -> None:
    seen: list[str] = []
    plugins = PluginRunner(
        [
            define_plugin(id="good", name="G", on=CREATED, handle=failing(0, seen, "good")),
            define_plugin(id="bad", name="B", on=CREATED, handle=failing(2, seen, "bad")),
        ]
    )
    other = CollectingEventSink()
    sinks: dict[str, EventSink] = {"plugins": plugins, "bus": other}
    bench = make_bench(pipeline(stage()), event_sink=CompositeSink(sinks))
    bench.create()
    for wait in (5, 10):
        assert counts(bench) == (0, 1, 0)
        bench.clock.advance(wait)
    assert counts(bench) == (2, 0, 0)
    assert seen == ["good workflow:created", "bad workflow:created"]
    assert other.types() == ["workflow:created", "workflow:started"]


def test_what_was_delivered_is_still_known_after_a_dead_letter_is_replayed(make_bench: MakeBench) -> None:
    seen: list[str] = []
    runner = PluginRunner(
        [
            define_plugin(id="good", name="G", on=CREATED, handle=failing(0, seen, "good")),
            define_plugin(id="bad", name="B", on=CREATED, handle=failing(1, seen, "bad")),
        ],
        max_retries=1,
    )
    bench = make_bench(pipeline(stage()), event_sink=runner)
    bench.create()
    assert counts(bench) == (1, 0, 1)
    bench.dispatch(PluginReplayDLQ())
    assert counts(bench) == (1, 0, 0)
    assert seen == ["good workflow:created", "bad workflow:created"]


def test_a_composite_is_unavailable_only_when_that_is_all_that_went_wrong() -> None:
    down = CollectingEventSink()
    down.failures = [SinkUnavailable("throttled")]
    sinks: dict[str, EventSink] = {"down": down, "up": CollectingEventSink(max_retries=7)}
    composite = CompositeSink(sinks)
    event = WorkflowCreated(timestamp=FakeClock().now(), workflow_run_id="r", workflow_id="w")
    with pytest.raises(PartiallyDelivered) as partly:
        composite.emit(event)
    assert (partly.value.delivered, isinstance(partly.value.cause, SinkUnavailable)) == (frozenset({"up"}), True)
    assert composite.max_retries == 7


@pytest.mark.failure(33)
@in_memory
def test_a_large_output_is_in_the_event_that_tells_of_it(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage()), blob_store=InMemoryBlobStore())
    bench.run("w", "x" * 9000)
    assert bench.events.events[-1].payload()["output"] == "x" * 9000


def test_whoever_finds_events_claimed_asks_to_come_again_when_the_claim_ends(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage()))
    run_id = bench.create()
    bench.wakes()
    bench.persistence.transact(lambda tx: tx.outbox.claim(run_id, token="dead", seconds=60, limit=10))
    assert bench.publish(run_id).published == 0
    bench.clock.advance(60)
    assert bench.wakes() == [{"type": "outbox.flush", "workflow_run_id": run_id}]
    assert bench.publish(run_id).published == 2


def test_an_output_that_a_rerun_removed_does_not_hold_its_event_back(make_bench: MakeBench) -> None:
    sink = CollectingEventSink()
    bench = make_bench(pipeline(stage(body=lambda _ctx: "x" * 9_000)), event_sink=sink)
    run_id = bench.create()
    bench.work()
    bench.dispatch(RunRerunFrom(workflow_run_id=run_id, from_stage_id="a"))
    bench.publish(run_id)
    (completed,) = [event for event in sink.events if event.type == "workflow:completed"]
    assert getattr(completed, "output", "") is None
    assert bench.reads.backlog()[0] == 0
