# mypy: ignore-errors
"""Each marked line is a mistake that a type checker finds."""

from pydantic import BaseModel

from engine import (
    CheckContext,
    CheckResult,
    NoInput,
    Ready,
    StageContext,
    Suspended,
    SuspendedState,
    define_async_batch_stage,
    define_stage,
    define_workflow,
)
from engine.conventions import Decision


class Document(BaseModel):
    url: str


class Text(BaseModel):
    text: str


@define_stage(id="extract", name="Extract")
def extract(ctx: StageContext[Document]) -> Text:
    _ = ctx.input.uri  # expect: attr-defined
    _ = ctx.config.model  # expect: attr-defined
    ctx.annotate(Decision.confidence, "high")  # expect: misc
    ctx.input = Document(url="u")  # expect: misc
    return ctx.input  # expect: return-value


@define_stage(id="count", name="Count")
def count(ctx: StageContext[Text]) -> int:
    _ = ctx.require(extract).length  # expect: attr-defined
    _ = ctx.optional(extract).text  # expect: union-attr
    return 1


@define_async_batch_stage(id="embed", name="Embed")
def embed(ctx: StageContext[NoInput]) -> Suspended | list[float]:
    return Suspended(7)  # expect: arg-type


@embed.check_completion  # expect: arg-type
def _(state: SuspendedState, ctx: CheckContext) -> CheckResult[str]:
    return Ready("not numbers")


@define_stage(id="plain", name="Plain")  # expect: arg-type
def plain(ctx: Document) -> Text:
    return Text(text=ctx.url)


_ = extract.check_completion  # expect: attr-defined
extract.id = "other"  # expect: misc
define_stage(id="s", name="S", retries=3)  # expect: call-overload
define_workflow(id="w", name="W", input=Document).pipe(count)  # expect: arg-type
define_workflow(id="w", name="W", input=Document).pipe(extract).parallel([count, extract])  # expect: list-item
