"""Turns the lines of a PDF's pages into headings and paragraphs."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from functions.workflows.documents.read_text import heading_level, join_lines
from functions.workflows.documents.structure import StructureBuilder, clean

type Bookmarks = Mapping[int, Mapping[str, int]]
"""By page, counted from 1: titles and their levels."""

_DIGITS = re.compile(r"\d+")
_ENDS_SENTENCE: Final = (".", "!", "?", ":", "…", ".”", '."')
_SHORT_LINE: Final = 0.75
_RUNNING_PAGES: Final = 3
_RUNNING_SHARE: Final = 0.6
_FEW_LINES: Final = 2


def lay_out(builder: StructureBuilder, pages: Sequence[str], bookmarks: Bookmarks) -> None:
    """Running headers and footers are left out. Without bookmarks, headings are recognised by their layout."""
    lines = [text.splitlines() for text in pages]
    running = _running_lines(lines)
    layout = _Layout(builder, bookmarks)
    for number, page in enumerate(lines, start=1):
        layout.page(number, [clean(line) for line in _body(page, running)])
    layout.end_paragraph()


class _Layout:
    """A paragraph ends with a short last line or a blank one; it may run on over the end of a page."""

    def __init__(self, builder: StructureBuilder, bookmarks: Bookmarks) -> None:
        self._builder = builder
        self._bookmarks = bookmarks
        self._pending: list[str] = []

    def page(self, number: int, lines: Sequence[str]) -> None:
        self._builder.page = number
        titles = {title.casefold(): (title, level) for title, level in self._bookmarks.get(number, {}).items()}
        for key in [key for key in titles if key not in set(map(str.casefold, lines))]:
            self._heading(*titles[key])
        width = max(map(len, lines), default=0)
        for line in lines:
            if line.casefold() in titles:
                self._heading(*titles[line.casefold()])
            elif number == 1 and line and line == self._builder.title:
                self._heading(line, 1)
            else:
                self._line(line, short=len(line) < width * _SHORT_LINE)
        if self._pending and self._pending[-1].endswith(_ENDS_SENTENCE):
            self.end_paragraph()

    def _line(self, line: str, *, short: bool) -> None:
        if not line:
            self.end_paragraph()
        elif short and self._heading_may_follow() and (level := heading_level(line)):
            self._heading(line, level)
        else:
            self._pending.append(line)
            if short and line.endswith(_ENDS_SENTENCE):
                self.end_paragraph()

    def _heading_may_follow(self) -> bool:
        between_sentences = not self._pending or self._pending[-1].endswith(_ENDS_SENTENCE)
        return between_sentences and not self._bookmarks

    def _heading(self, title: str, level: int) -> None:
        self.end_paragraph()
        self._builder.heading(title, level)

    def end_paragraph(self) -> None:
        if self._pending:
            self._builder.paragraph(join_lines(self._pending))
            self._pending = []


def _running_lines(pages: Sequence[Sequence[str]]) -> frozenset[str]:
    """First and last lines that most pages share, whatever number they carry."""
    edges = Counter(shape for lines in pages for shape in _edges(lines))
    least = max(_RUNNING_PAGES, len(pages) * _RUNNING_SHARE)
    return frozenset(shape for shape, count in edges.items() if count >= least)


def _edges(lines: Sequence[str]) -> set[str]:
    written = [line for line in lines if line.strip()]
    return {_shape(written[0]), _shape(written[-1])} if len(written) > _FEW_LINES else set()


def _body(lines: Sequence[str], running: frozenset[str]) -> Sequence[str]:
    """The lines between header and footer; the same words elsewhere on the page are text."""
    if not running & _edges(lines):
        return lines
    written = [index for index, line in enumerate(lines) if line.strip()]
    first, last = written[0], written[-1]
    start = first + 1 if _shape(lines[first]) in running else first
    return lines[start : last if _shape(lines[last]) in running else last + 1]


def _shape(line: str) -> str:
    return _DIGITS.sub("#", clean(line))
