"""The structure of a document: sections of paragraphs under headings, and links."""

import re
from collections.abc import Iterator
from typing import Final

from pydantic import BaseModel, ConfigDict

MAX_LINKS: Final = 1_000
MAX_HEADING: Final = 200

# NUL and lone surrogates cannot be stored as JSON by PostgreSQL; other controls would reach terminals.
_UNSTORABLE = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\xad\ufeff\ufffe\uffff\ud800-\udfff]")


class Link(BaseModel):
    """A link: its visible `text` and its `target`."""

    model_config = ConfigDict(frozen=True)

    text: str
    target: str


class Section(BaseModel):
    """Paragraphs under one heading. Level 0 has no heading: the text before the first. Pages count from 1."""

    model_config = ConfigDict(frozen=True)

    heading: str = ""
    level: int = 0
    page: int | None = None
    paragraphs: tuple[str, ...] = ()


class Structure(BaseModel):
    """A document's text in order. `pages` is None for formats without pages; `notes` list the losses."""

    model_config = ConfigDict(frozen=True)

    title: str = ""
    sections: tuple[Section, ...] = ()
    links: tuple[Link, ...] = ()
    pages: int | None = None
    notes: tuple[str, ...] = ()

    def paragraphs(self) -> Iterator[str]:
        for section in self.sections:
            yield from section.paragraphs

    @property
    def has_text(self) -> bool:
        return any(section.heading or section.paragraphs for section in self.sections)


def clean(text: str) -> str:
    """One line without control characters, NUL above all, and without runs of white space."""
    return " ".join(_UNSTORABLE.sub("", text).split())


class StructureBuilder:
    """Collects headings, paragraphs and links in order, and cleans their text."""

    def __init__(self) -> None:
        self.title = ""
        self.page: int | None = None
        self._sections: list[tuple[str, int, int | None, list[str]]] = []
        self._links: dict[tuple[str, str], Link] = {}
        self.notes: list[str] = []

    def heading(self, text: str, level: int) -> None:
        if text := clean(text)[:MAX_HEADING]:
            self._sections.append((text, level, self.page, []))

    def paragraph(self, text: str) -> None:
        if not (text := clean(text)):
            return
        if not self._sections:
            self._sections.append(("", 0, self.page, []))
        self._sections[-1][3].append(text)

    def link(self, text: str, target: str) -> None:
        target = clean(target)
        scripted = target.casefold().startswith(("javascript:", "data:", "vbscript:"))
        if target and not scripted and len(self._links) < MAX_LINKS:
            link = Link(text=clean(text) or target, target=target)
            self._links.setdefault((link.text, target), link)

    def note(self, text: str) -> None:
        self.notes.append(clean(text))

    def build(self, *, pages: int | None = None) -> Structure:
        sections = tuple(
            Section(heading=heading, level=level, page=page, paragraphs=tuple(paragraphs))
            for heading, level, page, paragraphs in self._sections
        )
        return Structure(
            title=clean(self.title) or _first_heading(sections),
            sections=sections,
            links=tuple(self._links.values()),
            pages=pages,
            notes=tuple(self.notes),
        )


def _first_heading(sections: tuple[Section, ...]) -> str:
    return next((section.heading for section in sections if section.heading), "")
