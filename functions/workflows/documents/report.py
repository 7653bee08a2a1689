"""The analysis as one result, and as Markdown for people."""

import re
from collections.abc import Iterator
from typing import Final

from pydantic import BaseModel, ConfigDict

from functions.workflows.documents.keywords import Keyword, Keywords
from functions.workflows.documents.reading import Extracted
from functions.workflows.documents.source import Kind
from functions.workflows.documents.statistics import Statistics
from functions.workflows.documents.structure import Link
from functions.workflows.documents.summary import Summary

_SPECIAL = re.compile(r"([\\`*_\[\]<>#|~])")
_LISTED_LINKS: Final = 50
_LANGUAGES: Final = {
    "en": "English",
    "de": "German",
    "fr": "French",
    "es": "Spanish",
    "it": "Italian",
    "nl": "Dutch",
    "pt": "Portuguese",
    "und": "undetermined",
}


class Heading(BaseModel):
    """One line of a document's outline. Levels and pages count from 1."""

    model_config = ConfigDict(frozen=True)

    text: str
    level: int
    page: int | None = None


class AnalysisReport(BaseModel):
    """The analysis of one document. `notes` list unreadable and guessed parts."""

    model_config = ConfigDict(frozen=True)

    title: str
    name: str
    kind: Kind
    size: int
    encoding: str | None
    language: str
    language_confidence: float
    pages: int | None
    statistics: Statistics
    keywords: tuple[Keyword, ...]
    summary: tuple[str, ...]
    outline: tuple[Heading, ...]
    links: tuple[Link, ...]
    notes: tuple[str, ...]


def merge(document: Extracted, *, keywords: Keywords, statistics: Statistics, summary: Summary) -> AnalysisReport:
    structure = document.structure
    headings = (Heading(text=s.heading, level=s.level, page=s.page) for s in structure.sections if s.heading)
    return AnalysisReport(
        title=structure.title or document.name,
        name=document.name,
        kind=document.kind,
        size=document.size,
        encoding=document.encoding,
        language=document.language.code,
        language_confidence=document.language.confidence,
        pages=structure.pages,
        statistics=statistics,
        keywords=keywords.keywords,
        summary=summary.sentences,
        outline=tuple(headings),
        links=structure.links,
        notes=document.notes,
    )


def to_markdown(report: AnalysisReport) -> str:
    """Escapes the document's text, so that it cannot become markup or script."""
    return "\n".join(_lines(report)).rstrip() + "\n"


def _lines(report: AnalysisReport) -> Iterator[str]:
    yield f"# {_escaped(report.title)}"
    yield ""
    yield from _facts(report)
    yield from _listed("Summary", [_escaped(sentence) for sentence in report.summary])
    yield from _listed("Keywords", [f"{_escaped(word.term)} ({word.count})" for word in report.keywords])
    yield from _listed("Outline", [_outline_entry(heading) for heading in report.outline], indented=True)
    links = [f"{_escaped(link.text)}: {_escaped(link.target)}" for link in report.links]
    more = len(links) - _LISTED_LINKS
    yield from _listed("Links", links[:_LISTED_LINKS] + ([f"and {more:,} more"] if more > 0 else []))
    yield from _listed("Notes", [_escaped(note) for note in report.notes])


def _facts(report: AnalysisReport) -> Iterator[str]:
    stats = report.statistics
    pages = f", {report.pages:,} pages" if report.pages else ""
    encoding = f", {report.encoding}" if report.encoding else ""
    language = _LANGUAGES.get(report.language, report.language)
    yield "| | |"
    yield "|---|---|"
    yield f"| Document | {_escaped(report.name)} ({report.kind}{encoding}{pages}, {report.size:,} bytes) |"
    yield f"| Language | {language} (confidence {report.language_confidence:.2f}) |"
    counts = f"{stats.words:,} words, {stats.sentences:,} sentences, {stats.paragraphs:,} paragraphs"
    yield f"| Length | {counts} |"
    yield f"| Reading time | {_reading_time(stats.reading_minutes)} |"
    if stats.reading_ease is not None:
        yield f"| Reading ease (Flesch) | {stats.reading_ease:.0f}, {stats.difficulty} |"
    yield ""


def _reading_time(minutes: float) -> str:
    if minutes < 1:
        return "under a minute"
    if minutes < 60:
        return f"{minutes:.0f} min"
    return f"{minutes // 60:.0f} h {minutes % 60:.0f} min"


def _listed(title: str, entries: list[str], *, indented: bool = False) -> Iterator[str]:
    if entries:
        yield f"## {title}"
        yield ""
        yield from entries if indented else (f"- {entry}" for entry in entries)
        yield ""


def _outline_entry(heading: Heading) -> str:
    page = f" (page {heading.page})" if heading.page else ""
    return f"{'  ' * max(0, heading.level - 1)}- {_escaped(heading.text)}{page}"


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text)
