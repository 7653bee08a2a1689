"""Words, sentences and syllables. All patterns run in linear time on any text."""

import re
from collections.abc import Iterator
from typing import Final

_APOSTROPHE: Final = "\N{RIGHT SINGLE QUOTATION MARK}"
# Ideographs and kana count one each: finding words among them takes a dictionary.
WORD: Final = re.compile(
    "[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]|"
    rf"[^\W_]+(?:(?:['{_APOSTROPHE}-]|(?<=\d)[.,](?=\d))[^\W_]+)*"
)
# The lookbehind keeps a run of dots (leaders, rows of them) from being tried at each of its dots.
_END = re.compile(
    rf"""(?<![.!?…])[.!?…]++["'”»)\]{_APOSTROPHE}]*+(?=\s)|[\u3002\uff01\uff1f]++""",
)
_BEFORE_END = re.compile(r"[^\s(\[\"'„“«]{1,12}$")
_ABBREVIATIONS: Final = """
    al approx bzw ca cf co d.h dipl dr ed eds e.g etc evtl fig figs ggf h.c i.e inc inkl jr ltd m.e mme mr mrs
    ms nr no op p pp prof resp s.o sog sr sra st tel u.a usf usw v.a vgl vol vs z.b zzgl
"""
_NO_SENTENCE_END: Final = frozenset(_ABBREVIATIONS.split())
_SILENT_END = re.compile(r"(?<=[^aeiouy])e$|(?<=[^aeiouytd])ed$|(?<=[^aeiouysxz])es$")
_VOWELS = re.compile("[aeiouyàáâãäåæèéêëìíîïòóôõöøùúûüýÿœ]+")
_FRENCH_MUTE = re.compile(r"(?<=[^aeiouy])(?:e|es|ent)$")
_LOOK_BACK: Final = 14


def words(text: str) -> Iterator[str]:
    return (match[0] for match in WORD.finditer(text))


def fold(word: str) -> str:
    """The form in which words are compared."""
    return word.casefold().replace(_APOSTROPHE, "'")


def sentences(paragraph: str) -> Iterator[str]:
    """Sentences end at . ! ? … before white space, unless an abbreviation, an initial or an ordinal comes
    first or a lower-case letter follows."""
    start = 0
    for end in _END.finditer(paragraph):
        if _is_boundary(paragraph, end):
            if sentence := paragraph[start : end.end()].strip():
                yield sentence
            start = end.end()
    if rest := paragraph[start:].strip():
        yield rest


def _is_boundary(paragraph: str, end: re.Match[str]) -> bool:
    following = paragraph[end.end() : end.end() + 2].lstrip()
    if following[:1].islower():
        return False
    if not end[0].startswith(".") or end[0].startswith(".."):
        return True
    before = _BEFORE_END.search(paragraph[max(0, end.start() - _LOOK_BACK) : end.start()])
    word = before[0].casefold() if before else ""
    initial = len(word) == 1 and word.isalpha()
    ordinal = word.isdigit() and len(word) <= 2
    return not (initial or ordinal or word in _NO_SENTENCE_END)


def syllables(word: str, language: str) -> int:
    """Estimates syllables: groups of vowels, without the silent endings of English and French."""
    word = word.casefold()
    if language == "en" and len(word) > 3:
        word = _SILENT_END.sub("", word) if not word.endswith(("le", "les")) else word
    elif language == "fr" and len(word) > 3:
        word = _FRENCH_MUTE.sub("", word)
    return max(1, sum(1 for _ in _VOWELS.finditer(word)))
