"""Texts that are too long for an index are refused on every store alike, before anything is written."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from engine import StageContext, StageResult
from engine.adapters.files.blob_store import FileBlobStore
from engine.conventions import Actor, typed_key
from engine.domain.errors import DefinitionError, InvalidInput
from engine.domain.lifecycle import JobStatus, RunStatus
from engine.domain.limits import ID, KEY, NAME
from engine.kernel import ActorInput, AnnotationInput, CompositeSink, JobExecute, RunCreate, RunRerunFrom, define_plugin
from engine.kernel.commands import parse_command
from engine.testing import CollectingEventSink
from tests.kernel.stores import MakeBench
from tests.kernel.workflows import ONCE, pipeline, stage

LONGEST = "\U0001f9fe" * KEY
LONG = f"{LONGEST}x"

type Body = Callable[[StageContext[Any, Any]], None]

ANNOTATIONS = {
    "annotation key": AnnotationInput(attributes={LONG: 1}),
    "annotation idempotency_key": AnnotationInput(attributes={"k": 1}, idempotency_key=LONG),
    "annotation actor.kind": AnnotationInput(attributes={"k": 1}, actor=ActorInput(kind=LONG, id="i")),
    "annotation actor.id": AnnotationInput(attributes={"k": 1}, actor=ActorInput(kind="k", id=LONG)),
    "annotation actor.version": AnnotationInput(attributes={"k": 1}, actor=ActorInput(kind="k", id="i", version=LONG)),
}
BODIES: dict[str, Body] = {
    "annotation key": lambda ctx: ctx.annotate(LONG, 1),
    "annotation idempotency_key": lambda ctx: ctx.annotate(attributes={"k": 1}, idempotency_key=LONG),
    "annotation actor.kind": lambda ctx: ctx.annotate(attributes={"k": 1}, actor=Actor(LONG, "i")),
    "annotation actor.id": lambda ctx: ctx.annotate(attributes={"k": 1}, actor=Actor("k", LONG)),
    "annotation actor.version": lambda ctx: ctx.annotate(attributes={"k": 1}, actor=Actor("k", "i", LONG)),
}


@pytest.mark.parametrize("what", ANNOTATIONS)
def test_a_long_text_of_an_annotation_is_refused_at_creation_and_at_attach(make_bench: MakeBench, what: str) -> None:
    bench, given = make_bench(pipeline(stage())), ANNOTATIONS[what]
    with pytest.raises(InvalidInput, match=f"^{what} '.{{60}}…' has 201 characters; use at most 200"):
        bench.create(annotations=(given,))
    run_id = bench.create()
    options = {name: getattr(given, name) for name in ("attributes", "actor", "idempotency_key")}
    with pytest.raises(InvalidInput, match=f"^{what} .* use at most 200"):
        bench.annotations.attach(run_id, **options)
    assert bench.annotations.list(run_id) == []


@pytest.mark.parametrize("what", BODIES)
def test_a_body_that_gives_a_long_text_to_an_annotation_fails_with_that_cause(make_bench: MakeBench, what: str) -> None:
    bench = make_bench(pipeline(stage(body=BODIES[what], retry=ONCE)))
    view = bench.run("w")
    assert str(view.run.failure_message).startswith(f"InvalidInput: {what} ")
    assert [job.attempt for job in view.jobs] == [1]


def test_a_context_for_tests_refuses_the_same() -> None:
    context = StageContext.for_test(input=None)
    with pytest.raises(InvalidInput, match="annotation idempotency_key"):
        context.annotate(attributes={"k": 1}, idempotency_key=LONG)


def test_the_longest_texts_are_stored(make_bench: MakeBench) -> None:
    def body(ctx: StageContext[Any, Any]) -> None:
        ctx.annotate(attributes={LONGEST: 1}, actor=Actor(LONGEST, LONGEST, LONGEST), idempotency_key=LONGEST)

    bench = make_bench(pipeline(stage("a" * ID, body=body, pool="default"), workflow_id="w" * ID))
    run_id = bench.create("w" * ID, tenant=LONGEST[:ID], idempotency_key=LONGEST)
    bench.work(run_id)
    assert bench.run_of(run_id).status is RunStatus.COMPLETED
    (note,) = bench.annotations.list(run_id)
    assert (note.key, note.actor_id, note.idempotency_key) == (LONGEST, LONGEST, LONGEST)


@pytest.mark.parametrize(
    ("field", "limit", "make"),
    [
        ("idempotency_key", KEY, lambda text: RunCreate(workflow_id="w", idempotency_key=text)),
        ("tenant", ID, lambda text: RunCreate(workflow_id="w", tenant=text)),
        (
            "idempotency_key",
            KEY,
            lambda text: RunRerunFrom(workflow_run_id="r", from_stage_id="a", idempotency_key=text),
        ),
        (
            "idempotency_key",
            KEY,
            lambda text: JobExecute(workflow_run_id="r", workflow_id="w", stage_id="a", idempotency_key=text),
        ),
        ("tenant", ID, lambda text: parse_command({"type": "run.create", "workflow_id": "w", "tenant": text})),
    ],
    ids=["key of run.create", "tenant", "key of run.rerunFrom", "key of job.execute", "tenant in JSON"],
)
def test_a_command_takes_no_long_text(field: str, limit: int, make: Callable[[str], object]) -> None:
    make("x" * limit)
    with pytest.raises(InvalidInput, match=rf"^{field} 'x{{60}}…' has {limit + 1} characters; use at most {limit},"):
        make("x" * (limit + 1))


def test_definitions_take_no_long_names() -> None:
    long = "x" * (ID + 1)
    with pytest.raises(DefinitionError, match=r"plugin id 'x{60}…' has 101 characters; use at most 100"):
        define_plugin(id=long, name="P", on=["stage:failed"], handle=print)
    with pytest.raises(DefinitionError, match=r"sink name 'x{60}…' has 101 characters"):
        CompositeSink({long: CollectingEventSink()})
    with pytest.raises(DefinitionError, match=r"stage id 'x{60}…' is not allowed"):
        stage(long)
    with pytest.raises(DefinitionError, match=r"annotation key 'a\.x{58}…' is not allowed"):
        typed_key(f"a.{'x' * KEY}", str)


NAMES = ["二〇二六年度" * 10 + ".pdf", "🧾" * 300, "a" * 300 + ".txt", "a" * 299 + "b.txt", "a" * NAME, "a/b" * 100]


def test_artifacts_and_results_keep_long_names(make_bench: MakeBench, tmp_path: Path) -> None:
    blobs = FileBlobStore(tmp_path)

    def body(ctx: StageContext[Any, Any]) -> Any:
        for name in NAMES:
            ctx.once(name, partial(calls.append, name))
            ctx.once(name, partial(calls.append, "again"))
        return StageResult("done", artifacts={name: name for name in NAMES})

    calls: list[str] = []
    bench = make_bench(pipeline(stage(body=body, retry=ONCE)), blob_store=blobs)
    view = bench.run("w")
    assert view.run.failure_message is None
    assert calls == NAMES
    stored = {each.name: each for each in bench.reads.artifacts(view.run.id)}
    assert sorted(stored) == sorted(NAMES)
    for name, each in stored.items():
        with blobs.open(each.blob_key) as file:
            assert file.read().decode() == name


def test_storage_takes_long_names(make_bench: MakeBench, tmp_path: Path) -> None:
    names = [name for name in NAMES if len(name) < 400]

    def body(ctx: StageContext[Any, Any]) -> list[Any]:
        keys = {name: ctx.storage.save(name, name) for name in names}
        assert keys == {name: ctx.storage.get_stage_key(name) for name in names}
        return [ctx.storage.load(name) for name in names] + [ctx.storage.load(key) for key in keys.values()]

    bench = make_bench(pipeline(stage(body=body, retry=ONCE)), blob_store=FileBlobStore(tmp_path))
    view = bench.run("w")
    assert view.run.failure_message is None
    assert bench.output_of(view.stages[0]) == [*names, *names]


@pytest.mark.parametrize("how", ["artifact", "once"])
def test_a_name_beyond_the_limit_is_refused_in_words(make_bench: MakeBench, how: str) -> None:
    def body(ctx: StageContext[Any, Any]) -> Any:
        name = "n" * (NAME + 1)
        return StageResult("done", artifacts={name: ""}) if how == "artifact" else ctx.once(name, lambda: 1)

    bench = make_bench(pipeline(stage(body=body, retry=ONCE)))
    view = bench.run("w")
    assert str(view.run.failure_message).endswith("…' has 1,025 characters; use at most 1,024")
    assert view.jobs[0].status is JobStatus.FAILED
