"""Plain text: paragraphs between blank lines, headings by their look."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from functions.workflows.documents.structure import Structure, StructureBuilder

_UNDERLINE = re.compile(r"(={3,}|-{3,}|~{3,})\s*")
_NUMBERED = re.compile(r"(\d{1,3}(?:\.\d{1,3}){0,5})\.?\s+[^\W\d_]")
_ENDS_OPEN: Final = (".", ",", ";", ":", "!", "?")
_HEADING_LENGTH: Final = 80
_TITLE_LENGTH: Final = 120


def read_text(text: str) -> Structure:
    builder = StructureBuilder()
    blocks = list(split_blocks(text.splitlines()))
    for block in blocks:
        add_block(builder, block)
    if blocks and len(blocks[0]) <= 2 and len(blocks[0][0].strip()) <= _TITLE_LENGTH:
        builder.title = blocks[0][0]
    return builder.build()


def split_blocks(lines: Iterable[str]) -> Iterable[list[str]]:
    """Runs of lines that are not blank."""
    block: list[str] = []
    for line in lines:
        if line.strip("\0 \t\f\v\N{NO-BREAK SPACE}\N{ZERO WIDTH NO-BREAK SPACE}"):
            block.append(line)
        elif block:
            yield block
            block = []
    if block:
        yield block


def add_block(builder: StructureBuilder, block: Sequence[str]) -> None:
    """A block's first line may be a heading: underlined, numbered or in capitals."""
    first = block[0].strip()
    if len(block) > 1 and len(first) <= _HEADING_LENGTH and (mark := _UNDERLINE.fullmatch(block[1].strip())):
        builder.heading(first, 1 if mark[1].startswith("=") else 2)
        block = block[2:]
    elif len(block) == 1 and (level := heading_level(first)):
        builder.heading(first, level)
        return
    if block:
        builder.paragraph(join_lines(block))


def heading_level(line: str) -> int:
    """The level of a line that looks like a heading ("2.1 Results" has 2, "METHODS" has 1), otherwise 0."""
    line = line.strip()
    if not line or len(line) > _HEADING_LENGTH or line.endswith(_ENDS_OPEN):
        return 0
    if (numbered := _NUMBERED.match(line)) and line[numbered.end() - 1].isupper():
        return numbered[1].count(".") + 1
    return 1 if line.isupper() and sum(map(str.isalpha, line)) >= 4 else 0


def join_lines(lines: Sequence[str]) -> str:
    """Lines of one paragraph, words that were hyphenated at a line's end made whole."""
    parts: list[str] = []
    for line in filter(None, map(str.strip, lines)):
        if parts and _hyphenated(parts[-1]) and line[0].islower():
            parts[-1] = parts[-1][:-1]
        elif parts:
            parts.append(" ")
        parts.append(line)
    return "".join(parts)


def _hyphenated(line: str) -> bool:
    return len(line) > 2 and line[-1] in "-\N{HYPHEN}\N{SOFT HYPHEN}" and line[-2].isalpha()
