"""Authors' code passes the type checker, and the types are inferred where they are used."""

from typing import Any, assert_type

from pydantic import BaseModel

from engine import (
    CheckContext,
    CheckResult,
    NoConfig,
    NoInput,
    NotReady,
    Ready,
    Stage,
    StageContext,
    StageResult,
    Suspended,
    SuspendedState,
    Workflow,
    WorkflowBuilder,
    define_async_batch_stage,
    define_stage,
    define_workflow,
    with_ai_config,
)
from engine.conventions import Decision, typed_key
from engine.definition.context import HandMadeContext
from engine.definition.stage import AsyncBatchStage


class Document(BaseModel):
    url: str


class Text(BaseModel):
    text: str


class LongText(Text):
    chapters: int


class Config(BaseModel):
    max_chars: int = 10


@define_stage(id="extract", name="Extract")
def extract(ctx: StageContext[Document, Config]) -> LongText:
    assert_type(ctx.input, Document)
    assert_type(ctx.config, Config)
    return LongText(text=ctx.input.url[: ctx.config.max_chars], chapters=1)


@define_stage(id="count", name="Count")
async def count(ctx: StageContext[Text]) -> int:
    assert_type(ctx.config, NoConfig)
    return len(ctx.input.text)


@define_stage(id="either", name="Either")
def either(ctx: StageContext[Text]) -> Text | StageResult[Text]:
    return StageResult(ctx.input, custom_metrics={"pages": 1}, artifacts={"a.txt": "text"})


@define_stage(id="wrapped", name="Wrapped")
async def wrapped(ctx: StageContext[Text]) -> StageResult[int]:
    return StageResult(1)


@define_async_batch_stage(id="embed", name="Embed")
def embed(ctx: StageContext[NoInput, Config]) -> Suspended | list[float]:
    return Suspended("b-1", poll_interval=60, max_wait=3600)


@embed.check_completion
def _(state: SuspendedState, ctx: CheckContext[Config]) -> CheckResult[list[float]]:
    return Ready([1.0]) if state.batch_id else NotReady(next_check_in=60)


@define_async_batch_stage(id="later", name="Later")
async def later(ctx: StageContext[Text]) -> Suspended | StageResult[Text]:
    return Suspended("b-2")


@later.check_completion
async def _(state: SuspendedState, ctx: CheckContext) -> CheckResult[Text]:
    return Ready(Text(text="a"))


@define_stage(id="merge", name="Merge", dependencies=["extract"])
def merge(ctx: StageContext[NoInput, Config]) -> Text:
    assert_type(ctx.require(extract), LongText)
    assert_type(ctx.optional(count), int | None)
    assert_type(ctx.require("extract"), Any)
    ctx.annotate(Decision.confidence, 0.4)
    ctx.annotate(Decision.outcome, None)
    ctx.annotate(typed_key("acme.compliance.signoffs", list[str]), ["alice"])
    ctx.annotate("acme.note", {"any": "json"})
    return ctx.require(extract)


assert_type(extract, Stage[Document, LongText, Config])
assert_type(count, Stage[Text, int, NoConfig])
assert_type(either, Stage[Text, Text, NoConfig])
assert_type(wrapped, Stage[Text, int, NoConfig])
assert_type(embed, AsyncBatchStage[NoInput, list[float], Config])
assert_type(later, AsyncBatchStage[Text, Text, NoConfig])
assert_type(define_stage(id="x", name="X", execute=extract.body), Stage[Document, Any, Config])

chain = define_workflow(id="w", name="W", input=Document).pipe(extract).pipe(either)
assert_type(chain, WorkflowBuilder[Document, Text])
assert_type(chain.parallel([count, embed]).pipe(merge).build(), Workflow[Document, Text])
assert_type(chain.parallel([count, wrapped]).pipe(later).build(), Workflow[Document, Text])
assert_type(define_workflow(id="w", name="W"), WorkflowBuilder[NoInput, NoInput])
assert_type(define_workflow(id="w", name="W", input=list[Document]), WorkflowBuilder[list[Document], list[Document]])
assert_type(WorkflowBuilder("w", "W", "text", Document, Text).pipe(extract).build(), Workflow[Document, LongText])

ctx = StageContext.for_test(input=Document(url="u"), config=Config(), outputs={extract: Text(text="a")})
assert_type(ctx, HandMadeContext[Document, Config])
assert_type(StageContext.for_test(input=1), HandMadeContext[int, NoConfig])
assert_type(with_ai_config(Config), type[Config])
print(extract(ctx), ctx.recorder.logs)  # noqa: T201 — any use will do
