"""Reads the visible text of HTML."""

from typing import assert_never

from functions.workflows.documents.html_elements import BLOCKS, CELLS, HEADINGS
from functions.workflows.documents.html_tokens import End, Start, Text, Title, Token, tokenize_html
from functions.workflows.documents.structure import Structure, StructureBuilder


def read_html(text: str) -> Structure:
    reader = _Reader()
    html = tokenize_html(text)
    for token in html.tokens:
        reader.read(token)
    reader.end_block()
    for note in html.notes:
        reader.builder.note(note)
    return reader.builder.build()


class _Reader:
    def __init__(self) -> None:
        self.builder = StructureBuilder()
        self._words: list[str] = []
        self._level = 0
        self._link: tuple[str, int] | None = None

    def read(self, token: Token) -> None:
        match token:
            case Start():
                self._start(token)
            case End(tag=tag):
                self._end(tag)
            case Text(text=text):
                self._words.append(text)
            case Title(text=text):
                self._title(text)
            case _:
                assert_never(token)

    def _start(self, start: Start) -> None:
        tag = start.tag
        if tag in HEADINGS:
            self.end_block()
            self._level = int(tag[1])
        elif tag in BLOCKS:
            self.end_block()
        elif tag == "br" or (tag in CELLS and self._words):
            self._words.append("\n" if tag == "br" else "; ")
        elif start.href:
            self._link = (start.href, len(self._words))

    def _end(self, tag: str) -> None:
        if tag in HEADINGS or tag in BLOCKS:
            self.end_block()
        elif tag == "a":
            self._end_link()

    def _title(self, text: str) -> None:
        if self.builder.title:
            self._words.append(text)
        else:
            self.builder.title = text

    def end_block(self) -> None:
        """Ends the collected text as a paragraph, or as the open heading."""
        self._end_link()
        text = "".join(self._words)
        self._words = []
        if self._level:
            self.builder.heading(text, self._level)
            self._level = 0
        else:
            self.builder.paragraph(text)

    def _end_link(self) -> None:
        if self._link:
            target, start = self._link
            self.builder.link("".join(self._words[start:]), target)
            self._link = None
