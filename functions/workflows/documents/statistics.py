"""Counts and readability."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

from pydantic import BaseModel, ConfigDict

from functions.workflows.documents.structure import Section, Structure
from functions.workflows.documents.tokens import sentences, syllables, words

WORDS_PER_MINUTE: Final = 238
"""Silent reading of non-fiction by adults, in English: Brysbaert, "How many words do we read per minute?"
(Journal of Memory and Language 109, 2019)."""

_READING_EASE: Final[Mapping[str, tuple[float, float, float]]] = {
    "en": (206.835, 1.015, 84.6),  # Flesch, "A new readability yardstick" (J. Applied Psychology 32, 1948)
    "de": (180.0, 1.0, 58.5),  # Amstad, "Wie verständlich sind unsere Zeitungen?" (Zürich, 1978)
    "fr": (207.0, 1.015, 73.6),  # Kandel and Moles (Cahiers d'Études de Radio-Télévision 19, 1958)
    "es": (
        206.84,
        1.02,
        60.0,
    ),  # Fernández Huerta, "Medidas sencillas de lecturabilidad" (Consigna, 1959)
    "it": (217.0, 1.3, 60.0),  # Franchina and Vacca (Linguaggi 3, 1986)
    "nl": (206.84, 0.93, 77.0),  # Douma, "De leesbaarheid van landbouwbladen" (Wageningen, 1960)
}
_DIFFICULTY: Final = (
    (90, "very easy"),
    (80, "easy"),
    (70, "fairly easy"),
    (60, "standard"),
    (50, "fairly difficult"),
    (30, "difficult"),
)


class Statistics(BaseModel):
    """Counts of the prose (headings apart), reading time in minutes, and readability if a formula exists."""

    model_config = ConfigDict(frozen=True)

    characters: int
    words: int
    sentences: int
    paragraphs: int
    sections: int
    links: int
    words_per_sentence: float
    syllables_per_word: float
    reading_minutes: float
    reading_ease: float | None
    difficulty: str | None


def measure(structure: Structure, language: str, on_section: Callable[[int, int], None]) -> Statistics:
    """`on_section(section, sections)` is called after each section; what it raises ends the measuring."""
    totals: Counter[str] = Counter()
    for number, section in enumerate(structure.sections, start=1):
        totals.update(_count(section, language))
        on_section(number, len(structure.sections))
    per_sentence = totals["words"] / totals["sentences"] if totals["sentences"] else 0.0
    per_word = totals["syllables"] / totals["words"] if totals["words"] else 0.0
    ease = reading_ease(per_sentence, per_word, language) if totals["words"] else None
    return Statistics(
        characters=totals["characters"],
        words=totals["words"],
        sentences=totals["sentences"],
        paragraphs=totals["paragraphs"],
        sections=sum(1 for section in structure.sections if section.heading),
        links=len(structure.links),
        words_per_sentence=round(per_sentence, 1),
        syllables_per_word=round(per_word, 2),
        reading_minutes=round(totals["words"] / WORDS_PER_MINUTE, 1),
        reading_ease=ease,
        difficulty=None if ease is None else difficulty(ease),
    )


def _count(section: Section, language: str) -> Counter[str]:
    counts: Counter[str] = Counter()
    for paragraph in section.paragraphs:
        found = list(words(paragraph))
        counts.update(
            paragraphs=1,
            characters=len(paragraph),
            words=len(found),
            sentences=sum(1 for sentence in sentences(paragraph) if any(words(sentence))),
            syllables=sum(syllables(word, language) for word in found),
        )
    return counts


def reading_ease(words_per_sentence: float, syllables_per_word: float, language: str) -> float | None:
    """Flesch reading ease, from about 0 (very difficult) to 100 (very easy); None without a formula for the
    language. The sources of the coefficients stand beside them."""
    if language not in _READING_EASE:
        return None
    base, sentence_weight, word_weight = _READING_EASE[language]
    return round(base - sentence_weight * words_per_sentence - word_weight * syllables_per_word, 1)


def difficulty(ease: float) -> str:
    """Flesch's own words for his scale (1948)."""
    return next((name for least, name in _DIFFICULTY if ease >= least), "very difficult")
