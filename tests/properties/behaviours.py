"""The workflows of the machine, whose bodies and completion checks do what they are told just before they run."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from hypothesis import strategies as st

from engine import (
    BatchFailed,
    CheckContext,
    NotReady,
    Ready,
    RetryPolicy,
    StageContext,
    StageResult,
    Suspended,
    SuspendedState,
    Workflow,
)
from engine.conventions import Actor
from engine.definition.body_context import BodyContext
from engine.ports.deps import INLINE_OUTPUT_MAX_BYTES
from tests.kernel.workflows import AnyStage, batch_stage, pipeline, stage

BIG = "x" * (INLINE_OUTPUT_MAX_BYTES + 1)
STAGE_IDS = "abcdefg"
OTHER_POOL = "other"


class End(StrEnum):
    COMPLETED = "completed; suspended, if it is a stage that can be"
    BIG = "completed with an output for the blob store"
    RICH = "completed with artifacts and metrics"
    FAILED = "failed"
    GIVEN_UP = "failed for good"


class Said(StrEnum):
    LOG = "a log line"
    PROGRESS = "progress"
    NOTE = "an annotation"
    TOLD_NOTE = "an annotation with an event"
    KEYED_NOTE = "annotations under an idempotency key, with events"


class Check(StrEnum):
    READY = "ready"
    NOT_READY = "not ready"
    LATER = "not ready for a while"
    FAILED = "failed"
    BROKEN = "raises"


@dataclass(frozen=True)
class Behaviour:
    end: End = End.COMPLETED
    said: frozenset[Said] = frozenset()


@dataclass(frozen=True)
class Answer:
    check: Check = Check.READY
    said: frozenset[Said] = frozenset()


_said = st.frozensets(st.sampled_from(Said), max_size=2)
behaviours = st.builds(
    Behaviour,
    st.sampled_from(
        [End.COMPLETED, End.COMPLETED, End.COMPLETED, End.FAILED, End.RICH, End.RICH, End.BIG, End.GIVEN_UP]
    ),
    _said,
)
answers = st.builds(
    Answer, st.sampled_from([Check.READY, Check.READY, Check.NOT_READY, Check.LATER, Check.FAILED, Check.BROKEN]), _said
)


class GivenUp(Exception):
    """An error that must not be retried."""


RETRY = RetryPolicy(max_attempts=3, give_up_on=(GivenUp,), jitter=0.5)


class Script:
    """What the next body and the next completion check will do."""

    def __init__(self) -> None:
        self.behaviour, self.answer = Behaviour(), Answer()

    def workflows(self) -> Sequence[Workflow[Any, Any]]:
        work, batch = self._stage, self._batch
        return (
            pipeline(work("a"), work("b"), work("c"), workflow_id="line"),
            pipeline(batch("a"), work("b"), batch("c"), workflow_id="waiting"),
            pipeline([work("a"), work("b")], [work(each) for each in "cdef"], work("g"), workflow_id="wide"),
            pipeline(
                [batch("a"), work("b"), work("c", pool=OTHER_POOL)],
                batch("d"),
                [work("e"), batch("f")],
                workflow_id="mixed",
            ),
        )

    def _stage(self, stage_id: str, **options: Any) -> AnyStage:
        def body(ctx: StageContext[Any, Any]) -> Any:
            return self._run(ctx, suspends=False)

        return stage(stage_id, body, retry=RETRY, **options)

    def _batch(self, stage_id: str) -> AnyStage:
        def body(ctx: StageContext[Any, Any]) -> Any:
            return self._run(ctx, suspends=True)

        return batch_stage(self._check, stage_id, body, retry=RETRY)

    def _run(self, ctx: StageContext[Any, Any], *, suspends: bool) -> Any:
        _say(ctx, self.behaviour.said)
        if Said.PROGRESS in self.behaviour.said:
            ctx.on_progress(0.25, "a quarter", {"of": [ctx.attempt]})
        match self.behaviour.end:
            case End.FAILED:
                raise ValueError("boom")
            case End.GIVEN_UP:
                raise GivenUp("for good")
            case End.COMPLETED if suspends:
                return Suspended("batch", poll_interval=60, max_wait=600, metadata={"n": 1.5}, custom_metrics={"s": 1})
            case End.BIG:
                return BIG
            case End.RICH:
                files = {"text.txt": "ü", "data.json": {"n": None}}
                return StageResult([ctx.generation], custom_metrics={"f": 0.1, "n": None}, artifacts=files)
            case _:
                return [ctx.generation, ctx.attempt]

    def _check(self, _state: SuspendedState, ctx: CheckContext[Any]) -> Any:
        _say(ctx, self.answer.said)
        match self.answer.check:
            case Check.READY:
                return Ready("polled", metrics={"p": 2}, embeddings={"model": "m"})
            case Check.NOT_READY:
                return NotReady()
            case Check.LATER:
                return NotReady(next_check_in=200)
            case Check.FAILED:
                return BatchFailed("by the provider")
            case Check.BROKEN:
                raise ValueError("the check broke")


def _say(ctx: BodyContext[Any], said: frozenset[Said]) -> None:
    if Said.LOG in said:
        ctx.log.info("a line", n=1.5, nothing=None)
    if Said.NOTE in said:
        ctx.annotate("stage", ctx.stage_id)
    if Said.TOLD_NOTE in said:
        ctx.annotate(attributes={"told": {"deep": [True]}}, actor=Actor("agent", "x"), emit_event=True)
    if Said.KEYED_NOTE in said:
        many = {"keyed": ctx.stage_id, "more": ctx.generation}
        ctx.annotate(attributes=many, payload=[1], idempotency_key="once", emit_event=True)
