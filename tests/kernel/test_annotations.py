from typing import Any

import pytest

from engine import StageContext
from engine.conventions import Actor, typed_key
from engine.domain.errors import InvalidInput, NotFound
from engine.kernel import ActorInput
from tests.kernel.bench import Bench
from tests.kernel.stores import MakeBench
from tests.kernel.workflows import ONCE, pipeline, stage

SIGNOFF = typed_key("acme.compliance.signoff", str)


def keys(bench: Bench, run_id: str, **where: Any) -> list[str]:
    return [note.key for note in bench.annotations.list(run_id, **where)]


def test_a_body_annotates_in_three_forms(make_bench: MakeBench) -> None:
    def body(ctx: StageContext[Any, Any]) -> None:
        ctx.annotate(SIGNOFF, "anna")
        ctx.annotate("plain", [1, None])
        ctx.annotate("nothing", None)
        ctx.annotate(
            attributes={"x.one": 1, "x.two": {"deep": True}, "x.none": None},
            actor=Actor("agent", "a1", "v2"),
            payload={"raw": [1]},
            idempotency_key="k",
            emit_event=True,
        )

    bench = make_bench(pipeline(stage(body=body)))
    run_id = bench.run("w").run.id
    found = {note.key: note for note in bench.annotations.list(run_id)}
    assert {key: note.value for key, note in found.items()} == {
        "acme.compliance.signoff": "anna",
        "plain": [1, None],
        "x.one": 1,
        "x.two": {"deep": True},
    }
    one = found["x.one"]
    assert (one.actor_kind, one.actor_id, one.actor_version, one.payload) == ("agent", "a1", "v2", {"raw": [1]})
    assert bench.told(run_id).count("annotation:created") == 2
    assert bench.last_event(run_id, "annotation:created").value == {"deep": True}


def test_a_value_of_the_wrong_type_fails_at_the_call(make_bench: MakeBench) -> None:
    wrong: Any = 7
    bench = make_bench(pipeline(stage(body=lambda ctx: ctx.annotate(SIGNOFF, wrong), retry=ONCE)))
    assert "TypeError" in (bench.run("w").run.failure_message or "")


def test_facts_are_attached_from_outside_at_any_time(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage()))
    run_id = bench.run("w").run.id
    bench.annotations.attach(
        run_id, attributes={"k": 1, "n": None}, actor=ActorInput(kind="user", id="u"), scope="stage", scope_id="a"
    )
    (note,) = bench.annotations.list(run_id)
    assert (note.scope, note.scope_id, note.actor_id) == ("stage", "a", "u")
    with pytest.raises(NotFound):
        bench.annotations.attach("nobody", attributes={"k": 1})
    with pytest.raises(InvalidInput):
        bench.annotations.attach(run_id, attributes={"k": float("nan")})
    with pytest.raises(InvalidInput, match="annotation key"):
        bench.annotations.attach(run_id, attributes={"": 1})


def test_repeats_under_one_key_are_skipped_with_their_events(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage()))
    run_id = bench.create()
    for value in (1, 2):
        bench.annotations.attach(run_id, attributes={"k": value}, idempotency_key="i", emit_event=True)
    bench.annotations.attach(run_id, attributes={"k": 3}, idempotency_key="other", emit_event=True)
    bench.annotations.attach(run_id, attributes={"k": 4})
    bench.annotations.attach(run_id, attributes={"k": 4})
    assert [note.value for note in bench.annotations.list(run_id)] == [1, 3, 4, 4]
    assert bench.told(run_id).count("annotation:created") == 2


def test_a_retried_body_under_one_key_annotates_once(make_bench: MakeBench) -> None:
    def body(ctx: StageContext[Any, Any]) -> None:
        ctx.annotate(attributes={"tries": ctx.attempt}, idempotency_key="once", emit_event=True)
        if ctx.attempt == 1:
            raise ValueError("again")

    bench = make_bench(pipeline(stage(body=body)))
    run_id = bench.run("w").run.id
    assert [note.value for note in bench.annotations.list(run_id)] == [1]
    assert bench.told(run_id).count("annotation:created") == 1


def test_every_condition_narrows_the_list(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage()))
    run_id = bench.create()
    bench.annotations.attach(run_id, attributes={"a.x": 1, "a.y": 2}, actor={"kind": "user", "id": "u1"})
    start = bench.clock.now()
    bench.clock.advance(10)
    bench.annotations.attach(run_id, attributes={"ab": 3}, actor={"kind": "agent", "id": "u2"}, scope="s", scope_id="1")
    now = bench.clock.now()
    assert keys(bench, run_id) == ["a.x", "a.y", "ab"]
    assert keys(bench, run_id, key="a.x") == ["a.x"]
    assert keys(bench, run_id, key_prefix="a.") == ["a.x", "a.y"]
    assert keys(bench, run_id, scope="s", scope_id="1") == ["ab"]
    assert keys(bench, run_id, actor_id="u1", key_prefix="a.y") == ["a.y"]
    assert keys(bench, run_id, actor_kind="agent") == ["ab"]
    assert keys(bench, run_id, since=now) == ["ab"]
    assert keys(bench, run_id, since=start, until=now) == ["a.x", "a.y"]
    assert keys(bench, run_id, limit=2) == ["a.x", "a.y"]
    assert keys(bench, run_id, generation=1) == []


@pytest.mark.parametrize("prefix", ["a_", "a%", "A"])
def test_a_prefix_is_taken_literally(make_bench: MakeBench, prefix: str) -> None:
    bench = make_bench(pipeline(stage()))
    run_id = bench.create()
    bench.annotations.attach(run_id, attributes={"a.x": 1, "abc": 2, f"{prefix}x": 3})
    assert keys(bench, run_id, key_prefix=prefix) == [f"{prefix}x"]


def test_legacy_metadata_shows_until_a_row_replaces_it(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage()))
    run_id = bench.create(metadata={"source": "mail", "owner": "eva", "none": None})
    bench.annotations.attach(run_id, attributes={"legacy.metadata.owner": "new", "other": 1})
    listed = {note.key: note.value for note in bench.annotations.list(run_id)}
    assert listed == {"legacy.metadata.source": "mail", "legacy.metadata.owner": "new", "other": 1}
    assert keys(bench, run_id, key="legacy.metadata.source") == ["legacy.metadata.source"]
    assert keys(bench, run_id, key_prefix="legacy.metadata.s") == ["legacy.metadata.source"]
    assert keys(bench, run_id, actor_id="nobody") == []
    assert keys(bench, run_id, scope="stage") == []
