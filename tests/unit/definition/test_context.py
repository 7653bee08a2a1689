import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from engine import InvalidStageData, MissingStageOutput, NoConfig, NoInput, StageCancelled, StageContext
from engine.conventions import Actor, Decision
from engine.definition.capabilities import Cancellation, Outputs, Recorder, Storage
from engine.definition.memory import MemoryCancellation, MemoryOutputs, MemoryRecorder, MemoryStorage
from engine.domain.errors import BlobNotFound
from engine.domain.records import LogLevel
from tests.unit.definition.samples import Document, Text, count, extract


class CountingOutputs:
    """Counts what was read."""

    def __init__(self, **outputs: Any) -> None:
        self.outputs = outputs
        self.reads: list[str] = []

    def available(self) -> tuple[str, ...]:
        return tuple(self.outputs)

    def load(self, stage_id: str) -> Any:
        self.reads.append(stage_id)
        return self.outputs[stage_id]


def context(**fields: Any) -> StageContext[NoInput, NoConfig]:
    return StageContext.for_test(input=NoInput(), **fields)


def test_a_stage_object_is_a_typed_key_to_its_output() -> None:
    ctx = context(outputs={extract: Text(text="a")})
    assert ctx.require(extract) == Text(text="a")
    assert ctx.optional(extract) == Text(text="a")


def test_an_id_gives_the_output_as_json() -> None:
    ctx = context(outputs={"extract": {"text": "a"}})
    assert ctx.require("extract") == {"text": "a"}


def test_a_missing_output_names_the_stage_and_what_there_is() -> None:
    ctx = context(outputs={"extract": 1, "classify": 2})
    with pytest.raises(MissingStageOutput, match="'count' has no output here; available: extract, classify"):
        ctx.require(count)
    assert ctx.optional(count) is None
    assert ctx.optional("count") is None


@pytest.mark.parametrize("value", [0, "", False, None, []])
def test_falsy_outputs_count_as_present(value: object) -> None:
    ctx = context(outputs={"s": value})
    assert ctx.require("s") == value
    assert ctx.optional("s") == value
    assert "s" in ctx.workflow_context


def test_an_output_that_no_longer_fits_its_stage_is_invalid_not_missing() -> None:
    with pytest.raises(InvalidStageData, match="stage 'extract': its output"):
        context(outputs={"extract": {"words": 1}}).optional(extract)


def test_each_output_is_read_once_and_only_when_used() -> None:
    outputs = CountingOutputs(a=1, b=2)
    ctx = replace(context(), outputs=outputs)
    assert list(ctx.workflow_context) == ["a", "b"]
    assert len(ctx.workflow_context) == 2
    assert "a" in ctx.workflow_context
    assert outputs.reads == []
    assert ctx.workflow_context["b"] == ctx.require("b") == 2
    assert outputs.reads == ["b"]


def test_the_workflow_context_cannot_be_written() -> None:
    with pytest.raises(TypeError):
        context().workflow_context["a"] = 1  # type: ignore[index]  # what this tests


def test_logs_have_a_level_a_message_and_anything_else_as_metadata() -> None:
    ctx = StageContext.for_test(input=1)
    ctx.log("INFO", "read", pages=3, message="not the text")
    ctx.log(LogLevel.DEBUG, "d")
    ctx.log.warn("slow", doc=Document(url="u"), odd=object, ratio=float("nan"))
    ctx.log.error("bad")
    assert [(each.level, each.message) for each in ctx.recorder.logs] == [
        ("INFO", "read"),
        ("DEBUG", "d"),
        ("WARN", "slow"),
        ("ERROR", "bad"),
    ]
    assert ctx.recorder.logs[0].metadata == {"pages": 3, "message": "not the text"}
    assert ctx.recorder.logs[2].metadata["doc"] == {"url": "u"}
    assert ctx.recorder.logs[2].metadata["ratio"] == "NaN"


def test_a_log_never_fails_for_what_is_said_in_it() -> None:
    ctx = StageContext.for_test(input=1)
    ctx.log.info("odd", half="\ud800", inside={"half": "\udfff"})
    assert ctx.recorder.logs[0].metadata == {"half": "'\\ud800'", "inside": "{'half': '\\udfff'}"}


def test_an_unknown_log_level_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="log level 'WARNING' is not known: use DEBUG, INFO, WARN, ERROR"):
        context().log("WARNING", "x")


def test_progress_goes_from_0_to_1() -> None:
    ctx = StageContext.for_test(input=1)
    ctx.on_progress(0.5, "half", {"page": 1})
    ctx.on_progress(1)
    assert [(each.progress, each.message, each.details) for each in ctx.recorder.progresses] == [
        (0.5, "half", {"page": 1}),
        (1.0, None, None),
    ]


@pytest.mark.parametrize("wrong", [50, -0.1, float("nan"), True])
def test_other_progress_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="progress goes from 0 to 1"):
        context().on_progress(wrong)


def test_annotations_take_three_forms() -> None:
    ctx = StageContext.for_test(input=1)
    ctx.annotate(Decision.outcome, "low")
    ctx.annotate("acme.compliance.signoff", {"by": "alice"})
    actor = Actor("agent", "triage", "3")
    ctx.annotate(attributes={"a": 1, "b": None}, actor=actor, payload={"p": 1}, idempotency_key="k", emit_event=True)
    assert ctx.recorder.attributes == {"decision.outcome": "low", "acme.compliance.signoff": {"by": "alice"}, "a": 1}
    last = ctx.recorder.annotations[-1]
    assert (last.attributes, last.actor, last.payload) == ({"a": 1}, actor, {"p": 1})
    assert (last.idempotency_key, last.emit_event) == ("k", True)


def test_none_is_dropped_silently() -> None:
    ctx = StageContext.for_test(input=1)
    ctx.annotate(Decision.outcome, None)
    ctx.annotate("a.b", None)
    ctx.annotate(attributes={"c": None})
    assert ctx.recorder.annotations == []


def test_a_value_of_the_wrong_type_is_a_type_error_at_the_call() -> None:
    with pytest.raises(TypeError, match=r"annotation 'decision.confidence' does not take 'high'"):
        context().annotate(Decision.confidence, "high")  # type: ignore[misc]  # what this tests


@pytest.mark.parametrize("attributes", [{"": 1}, {7: 1}, {"a": object()}, {"a": float("inf")}])
def test_attributes_that_cannot_be_stored_are_a_type_error_at_the_call(attributes: Any) -> None:
    with pytest.raises(TypeError, match="annotation"):
        context().annotate(attributes=attributes)


def test_mixed_forms_of_annotate_are_refused() -> None:
    ctx: Any = context()
    for wrong in (lambda: ctx.annotate("a"), lambda: ctx.annotate("a", 1, attributes={"b": 2}), ctx.annotate):
        with pytest.raises(TypeError, match="takes a key and its value, or attributes="):
            wrong()
    with pytest.raises(TypeError, match="takes actor only together with attributes="):
        ctx.annotate("a", 1, actor=Actor("user", "u"))


def test_cancellation_is_cooperative() -> None:
    cancellation = MemoryCancellation()
    ctx = context(cancellation=cancellation, workflow_run_id="run-7")
    ctx.raise_if_cancelled()
    cancellation.cancelled = True
    with pytest.raises(StageCancelled, match="run 'run-7' was cancelled"):
        ctx.raise_if_cancelled()


def test_once_remembers_a_result_for_later_attempts_of_the_generation() -> None:
    storage, calls = MemoryStorage(), []
    for attempt in (1, 2):
        ctx = context(storage=storage, attempt=attempt)
        assert ctx.once("charge/1", lambda: calls.append(1)) is None
        assert ctx.once("other", lambda: {"id": 1}) == {"id": 1}
    assert calls == [1]


def test_once_with_an_async_function_is_awaited() -> None:
    calls = []

    async def charge() -> int:
        calls.append(1)
        return 5

    async def body(ctx: StageContext[Any, Any]) -> list[int]:
        return [await ctx.once("charge", charge), await ctx.once("charge", charge)]

    assert asyncio.run(body(context())) == [5, 5]
    assert calls == [1]


def test_a_result_of_once_that_is_not_json_is_invalid() -> None:
    with pytest.raises(InvalidStageData, match=r"stage 'stage': a result of once\(\) must be JSON"):
        context().once("x", object)


def test_the_fields_of_a_context_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        context().generation = 2  # type: ignore[misc]  # what this tests


def test_a_hand_made_context_has_an_identity_that_can_be_overridden() -> None:
    ctx = context(generation=2, deadline=datetime(2026, 1, 1, tzinfo=UTC), ai="fake")
    assert (ctx.generation, ctx.attempt, ctx.stage_number, ctx.ai) == (2, 1, 1, "fake")
    assert ctx.resume_state is None


def test_the_memory_storage_keeps_json_bytes_and_files(tmp_path: Any) -> None:
    storage = MemoryStorage()
    (tmp_path / "f").write_bytes(b"file")
    key = storage.save("a.json", {"x": 1})
    storage.save_bytes("b.bin", b"\xff")
    storage.save_file("c.txt", tmp_path / "f")
    assert storage.load(key) == storage.load("a.json") == {"x": 1}
    assert storage.get_stage_key("a.json") == key
    assert storage.load_bytes("b.bin") == b"\xff"
    with storage.open("c.txt") as file:
        assert file.read() == b"file"
    storage.delete("a.json")
    storage.delete("a.json")
    assert not storage.exists("a.json")
    with pytest.raises(BlobNotFound, match=r"a\.json"):
        storage.load("a.json")


def test_the_memory_doubles_are_what_a_body_may_use() -> None:
    lent: tuple[Outputs, Recorder, Storage, Cancellation] = (
        MemoryOutputs(),
        MemoryRecorder(),
        MemoryStorage(),
        MemoryCancellation(),
    )
    assert len(lent) == 4
