"""Reads the visible text of HTML with the standard library's parser."""

import re
from html.parser import HTMLParser
from typing import Final

from functions.workflows.documents.structure import Structure, StructureBuilder

_UNREAD: Final = frozenset(
    {"script", "style", "nav", "noscript", "template", "svg", "math", "iframe", "object", "select"}
)
_BLOCK_TAGS: Final = """
    address article aside blockquote body caption dd details dialog div dl dt fieldset figcaption figure
    footer form header hr html li main ol p pre section summary table tbody tfoot thead tr ul
"""
_BLOCKS: Final = frozenset(_BLOCK_TAGS.split())
_CELLS: Final = frozenset({"td", "th"})
_TAG_OPEN = re.compile("<[a-zA-Z/!?]")
_HEADING = re.compile(r"h([1-6])")


def read_html(text: str) -> Structure:
    reader = _Reader()
    reader.feed(_closed(text))
    reader.close()
    reader.end_block()
    return reader.builder.build()


def _closed(text: str) -> str:
    """The text without a last comment or tag that never ends, over which the parser takes quadratic time.

    Browsers drop both too (HTML standard, 13.2.5, "eof-in-comment" and "eof-in-tag"). CDATA is XML's; browsers
    take it for a comment that ends with the next ">".
    """
    text = text.replace("<![CDATA[", "<!CDATA[")
    comment = text.find("<!--", text.rfind("-->") + 1)
    text = text if comment < 0 else text[:comment]
    tag = _TAG_OPEN.search(text, text.rfind(">") + 1)
    return text[: tag.start()] if tag else text


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.builder = StructureBuilder()
        self._words: list[str] = []
        self._title: list[str] | None = None
        self._level = 0
        self._unread: list[str] = []
        self._link: tuple[str, int] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _UNREAD:
            self._unread.append(tag)
        elif tag == "title" and not self.builder.title:
            self._title = []
        elif heading := _HEADING.fullmatch(tag):
            self.end_block()
            self._level = int(heading[1])
        elif tag in _BLOCKS:
            self.end_block()
        elif tag == "br" or (tag in _CELLS and self._words):
            self._words.append("\n" if tag == "br" else "; ")
        elif tag == "a" and (target := dict(attrs).get("href")):
            self._link = (target, len(self._words))

    def handle_endtag(self, tag: str) -> None:
        if self._unread:
            if tag == self._unread[-1]:
                self._unread.pop()
        elif tag == "title" and self._title is not None:
            self.builder.title = "".join(self._title)
            self._title = None
        elif _HEADING.fullmatch(tag) or tag in _BLOCKS:
            self.end_block()
        elif tag == "a":
            self._end_link()

    def handle_data(self, data: str) -> None:
        if self._unread:
            return
        (self._words if self._title is None else self._title).append(data)

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
