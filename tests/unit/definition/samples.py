"""Stages and models that several tests use."""

from pydantic import BaseModel

from engine import NoConfig, NoInput, Stage, StageContext, define_stage


class Document(BaseModel):
    url: str


class Text(BaseModel):
    text: str


class ExtractConfig(BaseModel):
    max_chars: int = 50_000


@define_stage(id="extract", name="Extract text", description="Reads the document")
def extract(ctx: StageContext[Document, ExtractConfig]) -> Text:
    return Text(text=ctx.input.url[: ctx.config.max_chars])


@define_stage(id="count", name="Count")
def count(ctx: StageContext[Text]) -> int:
    return len(ctx.input.text)


def numbered(stage_id: str, *, after: tuple[str, ...] = ()) -> Stage[NoInput, int, NoConfig]:
    """A stage that needs no input and gives 1."""
    return define_stage(id=stage_id, name=stage_id.title(), dependencies=after, execute=_one)


def _one(ctx: StageContext[NoInput]) -> int:
    return 1
