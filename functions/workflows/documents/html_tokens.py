"""Splits HTML into tokens, without the elements that hold no prose.

HTML written by hand and by templates leaves end tags out. An element is left out only when its own end tag comes;
the tokens of one that never ends, or that ends because an element around it does, are kept, so that a missing end
tag hides no text. To know which end tag is whose, the open elements are tracked as browsers do it, by a small part of
the HTML standard's tree construction (13.2.6): scopes, and elements that break out of SVG, MathML and select.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from html.parser import HTMLParser
from typing import Final

from functions.workflows.documents.html_elements import (
    BREAKOUT,
    CODE,
    FOREIGN,
    INTEGRATION_POINTS,
    LEFT_OUT,
    SCOPE,
    SELECT_ENDS,
    SPECIAL,
    TABLE,
    TABLE_SCOPE,
    VOID,
)

Attributes = list[tuple[str, str | None]]

_RAW_TEXT: Final = {
    tag: re.compile(rf"<{tag}[\s/>]|(?P<end></{tag}\s*>)", re.IGNORECASE) for tag in ("iframe", "textarea", "title")
}
_COMMENT_END = re.compile(r"-->|(?<!<!)--!>")
_TAG_OPEN = re.compile("<[a-zA-Z/!?]")


@dataclass(frozen=True, slots=True)
class Start:
    tag: str
    href: str = ""


@dataclass(frozen=True, slots=True)
class End:
    tag: str


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Title:
    """The whole text of a title element of the page (an SVG's is left out with it)."""

    text: str


Token = Start | End | Text | Title


@dataclass(frozen=True, slots=True)
class TokenizedHtml:
    """`notes` tell of text that was left out because markup never ends."""

    tokens: list[Token]
    notes: tuple[str, ...]


def tokenize_html(text: str) -> TokenizedHtml:
    tokenizer = _Tokenizer()
    tokenizer.feed(tokenizer.without_open_tag(text))
    tokenizer.close()
    tokenizer.end_document()
    return TokenizedHtml(tokenizer.tokens, tuple(tokenizer.notes))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Open:
    """An open element. `first` is the index of its first token inside; the others are indexes of open elements:
    the innermost special, scoping and table-scoping one, down to which an end tag inside may reach."""

    tag: str
    first: int
    foreign: bool = False
    special: int = 0
    scope: int = 0
    table_scope: int = 0

    @property
    def foreign_inside(self) -> bool:
        return self.foreign and self.tag not in INTEGRATION_POINTS


class _Tokenizer(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tokens: list[Token] = []
        self.notes: dict[str, None] = {}
        self._open = [_Open(tag="", first=0)]
        self._indexes: defaultdict[str, list[int]] = defaultdict(list)
        self._opened: _Open | None = None

    def without_open_tag(self, text: str) -> str:
        """The text without a last tag that never ends, over which the parser takes quadratic time. Browsers drop it
        too (13.2.5, "eof-in-tag")."""
        if not (tag := _TAG_OPEN.search(text, text.rfind(">") + 1)):
            return text
        self._left_out("a tag", len(text) - tag.start())
        return text[: tag.start()]

    def end_document(self) -> None:
        self._close_to(1)

    def handle_starttag(self, tag: str, attrs: Attributes) -> None:
        self._close_before(tag)
        self.tokens.append(Start(tag, (dict(attrs).get("href") or "") if tag == "a" else ""))
        self._opened = None if tag in VOID else self._push(tag)

    def handle_endtag(self, tag: str) -> None:
        self._opened = None
        if tag in {"p", "br"}:
            self._leave_foreign()
        indexes = self._indexes[tag]
        if indexes and indexes[-1] >= self._reach(tag):
            self._close_to(indexes[-1], ended=True)
        else:
            self._close_title()
        self.tokens.append(End(tag))

    def handle_data(self, data: str) -> None:
        self.tokens.append(Text(unescape(data) if self.cdata_elem in {"textarea", "title"} else data))

    def parse_starttag(self, i: int) -> int:
        end = super().parse_starttag(i)
        opened, self._opened = self._opened, None
        if opened and not opened.foreign and self._is_raw(opened.tag, end):
            super().set_cdata_mode(opened.tag)
        return end

    def set_cdata_mode(self, elem: str, *, escapable: bool = False) -> None:
        """Does nothing: which elements the parser takes for raw text differs between releases of Python 3.13, so
        `parse_starttag` decides."""

    def _is_raw(self, tag: str, start: int) -> bool:
        """Whether tags inside are text. Without an end tag before the next of its kind, they are tags after all: in
        a browser the rest of the page would be the title."""
        if tag in CODE:
            return True
        if not (pattern := _RAW_TEXT.get(tag)):
            return False
        found = pattern.search(self.rawdata, start)
        return bool(found and found["end"])

    def parse_comment(self, i: int, report: bool = True) -> int:  # noqa: ARG002 - HTMLParser's signature
        if found := _COMMENT_END.search(self.rawdata, i + 2):
            return found.end()
        self._left_out("a comment", len(self.rawdata) - i)
        return len(self.rawdata)

    def parse_html_declaration(self, i: int) -> int:
        """Everything else that begins with "<!" ends at the next ">"; marked sections are XML's (13.2.5.42)."""
        return self.rawdata.find(">", i) + 1 or len(self.rawdata)

    def _left_out(self, what: str, characters: int) -> None:
        self.notes[f"{what} never ends; the {characters:,} characters from there were left out"] = None

    def _close_before(self, tag: str) -> None:
        """Closes the elements that cannot hold a start tag, as browsers do."""
        self._close_title()
        if tag in BREAKOUT:
            self._leave_foreign()
        if tag in SELECT_ENDS and (selects := self._indexes["select"]):
            self._close_to(selects[-1])

    def _close_title(self) -> None:
        if self._open[-1].tag == "title" and not self._open[-1].foreign:
            self._close_to(len(self._open) - 1)

    def _leave_foreign(self) -> None:
        while self._open[-1].foreign_inside:
            self._close_to(len(self._open) - 1)

    def _push(self, tag: str) -> _Open:
        outer, index = self._open[-1], len(self._open)
        foreign = tag in FOREIGN or outer.foreign_inside
        # Of SVG and MathML only the integration point around HTML limits an end tag.
        limit = index - 1 if outer.foreign and not foreign else 0
        name = "" if foreign else tag
        opened = _Open(
            tag=tag,
            first=len(self.tokens),
            foreign=foreign,
            special=index if name in SPECIAL else limit or outer.special,
            scope=index if name in SCOPE else limit or outer.scope,
            table_scope=index if name in TABLE_SCOPE else outer.table_scope,
        )
        self._open.append(opened)
        self._indexes[tag].append(index)
        return opened

    def _reach(self, tag: str) -> int:
        """The lowest index of an open element that an end tag closes here."""
        if tag == "template":
            return 0
        if tag in TABLE:
            return self._open[-1].table_scope
        return self._open[-1].scope if tag in SPECIAL else self._open[-1].special

    def _close_to(self, index: int, *, ended: bool = False) -> None:
        """Closes the elements from `index` on; `ended` when the end tag of that one came."""
        while len(self._open) > index:
            element = self._open.pop()
            self._indexes[element.tag].pop()
            self._finish(element, ended=ended and len(self._open) == index)

    def _finish(self, element: _Open, *, ended: bool) -> None:
        inside = slice(element.first, None)
        if element.tag == "title" and not element.foreign:
            self.tokens[inside] = [Title("".join(_texts(self.tokens[inside])))]
        elif element.tag in LEFT_OUT and ended:
            del self.tokens[inside]
        elif element.tag in CODE:
            del self.tokens[inside]
            self.notes[f"a {element.tag} element never ends; everything from there was left out"] = None


def _texts(tokens: list[Token]) -> Iterator[str]:
    return (token.text for token in tokens if isinstance(token, Text))
