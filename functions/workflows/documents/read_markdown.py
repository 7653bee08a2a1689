"""Markdown: the blocks of CommonMark that carry prose. Code blocks are left out."""

import re
from typing import Final

from functions.workflows.documents.read_text import join_lines
from functions.workflows.documents.structure import Structure, StructureBuilder

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_ATX = re.compile(r" {0,3}(#{1,6})(?:\s+(.*))?$")
_SETEXT = re.compile(r" {0,3}(=+|-+)\s*$")
_RULE = re.compile(r" {0,3}([-*_])(?:\s*\1){2,}\s*$")
_ITEM = re.compile(r"\s{0,12}(?:[-*+]|\d{1,9}[.)])\s+(?:\[[ xX]\]\s+)?")
_QUOTE = re.compile(r"^\s{0,3}(?:>\s?)+")
_DEFINITION = re.compile(r" {0,3}\[([^\[\]]{1,200})\]:\s*<?([^\s>]+)")
_TITLE_LINE = re.compile(r"title\s*:\s*(.+)", re.IGNORECASE)
# Bounded on purpose: unbounded brackets make a hostile line quadratic.
_IMAGE = re.compile(r"!\[([^\[\]]{0,500})\]\([^()\s]{0,2000}(?:\s[^()]{0,300})?\)")
_LINK = re.compile(r"\[([^\[\]]{1,500})\]\(<?([^()<>\s]{1,2000})>?(?:\s[^()]{0,300})?\)")
_REFERENCE = re.compile(r"\[([^\[\]]{1,500})\]\[([^\[\]]{0,200})\]")
_AUTOLINK = re.compile(r"<((?:https?://|mailto:)[^\s<>]{1,2000})>")
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,500}>|<!--.{0,2000}?-->")
_EMPHASIS = re.compile(r"(?<!\w)(\*{1,3}|_{1,3}|~~)(?=\S)|(?<=\S)(\*{1,3}|_{1,3}|~~)(?!\w)|`+|\\(?=[*_`#\[\]\\])")
_TABLE_RULE: Final = frozenset("|:- \t")
_MAX_FRONT_MATTER: Final = 200


def read_markdown(text: str) -> Structure:
    reader = _Reader()
    lines = text.splitlines()
    reader.references = {m[1].casefold(): m[2] for line in lines if (m := _DEFINITION.match(line))}
    for line in lines[reader.front_matter(lines) :]:
        reader.line(line)
    reader.end_paragraph()
    return reader.builder.build()


class _Reader:
    def __init__(self) -> None:
        self.builder = StructureBuilder()
        self.references: dict[str, str] = {}
        self._pending: list[str] = []
        self._fence = ""

    def front_matter(self, lines: list[str]) -> int:
        """The number of lines of a leading `---` block of metadata. Its title becomes the document's."""
        if not lines or lines[0].strip() != "---":
            return 0
        for number, line in enumerate(lines[1:_MAX_FRONT_MATTER], start=1):
            if line.strip() in {"---", "..."}:
                return number + 1
            if title := _TITLE_LINE.match(line):
                self.builder.title = title[1].strip().strip("\"'")
        self.builder.title = ""
        return 0

    def line(self, line: str) -> None:
        fence = _FENCE.match(line)
        if self._fence:
            if fence and fence[1].startswith(self._fence):
                self._fence = ""
        elif fence:
            self.end_paragraph()
            self._fence = fence[1]
        else:
            self._prose(_QUOTE.sub("", line, count=1))

    def _prose(self, line: str) -> None:
        if atx := _ATX.match(line):
            self.end_paragraph()
            self.builder.heading(self._plain((atx[2] or "").rstrip().rstrip("#")), len(atx[1]))
        elif self._pending and (setext := _SETEXT.match(line)):
            self.builder.heading(self._plain(join_lines(self._pending)), 1 if setext[1][0] == "=" else 2)
            self._pending = []
        elif _RULE.match(line) or _DEFINITION.match(line) or not line.strip():
            self.end_paragraph()
        elif line.lstrip().startswith("|"):
            self._row(line)
        else:
            self._text(line)

    def _row(self, line: str) -> None:
        self.end_paragraph()
        if not set(line) <= _TABLE_RULE:
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            self.builder.paragraph(self._plain("; ".join(filter(None, cells))))

    def _text(self, line: str) -> None:
        if item := _ITEM.match(line):
            self.end_paragraph()
            line = line[item.end() :]
        self._pending.append(line)

    def end_paragraph(self) -> None:
        if self._pending:
            self.builder.paragraph(self._plain(join_lines(self._pending)))
            self._pending = []

    def _plain(self, text: str) -> str:
        """The words alone. Links are collected."""
        text = _IMAGE.sub(r"\1", text)
        text = _LINK.sub(lambda m: self._linked(m[1], m[2]), text)
        text = _REFERENCE.sub(self._referenced, text)
        text = _AUTOLINK.sub(lambda m: self._linked(m[1].removeprefix("mailto:"), m[1]), text)
        return _EMPHASIS.sub("", _TAG.sub("", text))

    def _linked(self, text: str, target: str) -> str:
        self.builder.link(_EMPHASIS.sub("", text), target)
        return text

    def _referenced(self, match: re.Match[str]) -> str:
        target = self.references.get((match[2] or match[1]).casefold())
        return self._linked(match[1], target) if target else match[0]
