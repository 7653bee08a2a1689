"""Document analysis: reads a document, analyses it in three parallel stages, and reports.

extract → keywords · statistics · summary → report
"""

from typing import Self

from pydantic import BaseModel, Field, model_validator

from engine import RetryPolicy, StageContext, StageResult, define_stage, define_workflow
from engine.conventions import Actor
from functions.workflows.documents.errors import DocumentError
from functions.workflows.documents.keywords import Keywords, extract_keywords
from functions.workflows.documents.reading import Extracted, read_document
from functions.workflows.documents.report import AnalysisReport, merge, to_markdown
from functions.workflows.documents.source import Source, from_bytes, read_file
from functions.workflows.documents.statistics import Statistics, measure
from functions.workflows.documents.summary import Summary, summarise


class Document(BaseModel):
    """The path of a file (relative ones start at the working directory), or the text itself as `content`.

    The suffix of `name` gives the format of `content`: .txt, .md or .html.
    """

    path: str | None = None
    content: str | None = None
    name: str = "document.txt"

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.path is None) == (self.content is None):
            raise ValueError('give either path, such as {"path": "events/sample.md"}, or content')
        return self


class ExtractConfig(BaseModel):
    """Limits of reading: the size of the file in bytes, and the text of a PDF in characters."""

    max_bytes: int = Field(default=25_000_000, gt=0)
    max_characters: int = Field(default=10_000_000, gt=0)


class KeywordsConfig(BaseModel):
    """The number of key terms, and the limit of counted content words."""

    limit: int = Field(default=12, gt=0)
    max_words: int = Field(default=200_000, gt=0)


class SummaryConfig(BaseModel):
    """The number of sentences, and the limit of compared sentences: time grows with its square."""

    sentences: int = Field(default=5, gt=0)
    max_sentences: int = Field(default=400, gt=0, le=2_000)


class Analysis(BaseModel):
    """The results of the parallel stages, by stage id."""

    keywords: Keywords
    statistics: Statistics
    summary: Summary


@define_stage(
    id="extract",
    name="Extract text",
    description="Reads text, Markdown, HTML or PDF into sections, and guesses encoding and language.",
    retry=RetryPolicy(give_up_on=(DocumentError,)),
)
def extract(ctx: StageContext[Document, ExtractConfig]) -> Extracted:
    source = _source(ctx.input, ctx.config)
    ctx.log("INFO", f"reading {source.name!r}", bytes=len(source.data))

    def on_page(page: int, pages: int) -> None:
        ctx.raise_if_cancelled()
        ctx.on_progress((page - 1) / pages, f"page {page} of {pages}")

    document = read_document(source, max_characters=ctx.config.max_characters, on_page=on_page)
    for note in document.notes:
        ctx.log("WARN", f"{source.name!r}: {note}")
    _annotate(ctx, document)
    ctx.on_progress(1.0, f"{len(document.structure.sections)} sections")
    return document


def _source(document: Document, config: ExtractConfig) -> Source:
    if document.path is not None:
        return read_file(document.path, max_bytes=config.max_bytes)
    content = (document.content or "").encode(errors="replace")
    return from_bytes(document.name, content, max_bytes=config.max_bytes)


def _annotate(ctx: StageContext[Document, ExtractConfig], document: Extracted) -> None:
    language = document.language
    ctx.annotate(
        attributes={
            "decision.outcome": language.code,
            "decision.confidence": language.confidence,
            "decision.rationale": "the language whose stop words make up most of the text",
            "decision.alternatives": list(language.alternatives),
        },
        actor=Actor(kind="system", id="language-guess"),
    )
    ctx.annotate(
        attributes={
            "document.encoding": document.encoding,
            "document.encoding_confidence": document.encoding_confidence,
        },
        actor=Actor(kind="system", id="encoding-guess"),
    )


@define_stage(id="keywords", name="Find key terms", description="C-value over runs of content words.")
def keywords(ctx: StageContext[Extracted, KeywordsConfig]) -> Keywords:
    document, config = ctx.input, ctx.config
    found = extract_keywords(
        document.structure.paragraphs(),
        language=document.language.code,
        limit=config.limit,
        max_words=config.max_words,
    )
    if found.truncated:
        ctx.log("INFO", f"counted the first {config.max_words:,} content words only; see max_words")
    return found


@define_stage(id="statistics", name="Measure", description="Counts, reading time and reading ease.")
def statistics(ctx: StageContext[Extracted]) -> Statistics:
    def on_section(section: int, sections: int) -> None:
        ctx.raise_if_cancelled()
        ctx.on_progress(section / sections, f"section {section} of {sections}")

    return measure(ctx.input.structure, ctx.input.language.code, on_section)


@define_stage(id="summary", name="Summarise", description="The most central sentences by TextRank.")
def summary(ctx: StageContext[Extracted, SummaryConfig]) -> Summary:
    document, config = ctx.input, ctx.config
    found = summarise(
        document.structure,
        language=document.language.code,
        limit=config.sentences,
        max_sentences=config.max_sentences,
    )
    ctx.log("INFO", f"compared {found.considered:,} of {found.sentences_total:,} sentences")
    return found


@define_stage(id="report", name="Write report", description="One result, and report.md for people.")
def report(ctx: StageContext[Analysis]) -> StageResult[AnalysisReport]:
    found = ctx.input
    merged = merge(ctx.require(extract), keywords=found.keywords, statistics=found.statistics, summary=found.summary)
    return StageResult(
        output=merged,
        custom_metrics={"words": merged.statistics.words, "pages": merged.pages},
        artifacts={"report.md": to_markdown(merged)},
    )


workflow = (
    define_workflow(
        id="document-analysis",
        name="Document analysis",
        description="Key terms, statistics and a summary of one text, Markdown, HTML or PDF document.",
        input=Document,
        output=AnalysisReport,
    )
    .pipe(extract)
    .parallel([keywords, statistics, summary])
    .pipe(report)
    .build()
)
