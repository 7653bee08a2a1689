"""Key terms by C-value: frequent word sequences, less what only occurs inside longer ones."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel, ConfigDict

from functions.workflows.documents.stop_words import stop_words
from functions.workflows.documents.tokens import WORD, fold

LONGEST_TERM: Final = 3
_SHORTEST_WORD: Final = 3

type Term = tuple[str, ...]


class Keyword(BaseModel):
    """A key term in its most frequent spelling, with its C-value and number of occurrences."""

    model_config = ConfigDict(frozen=True)

    term: str
    score: float
    count: int


class Keywords(BaseModel):
    """Best first. `truncated` when the text was longer than what was counted."""

    model_config = ConfigDict(frozen=True)

    keywords: tuple[Keyword, ...]
    truncated: bool = False


@dataclass(slots=True)
class _Nested:
    occurrences: int = 0
    terms: int = 0


def extract_keywords(paragraphs: Iterable[str], *, language: str, limit: int, max_words: int) -> Keywords:
    """The `limit` best terms of the first `max_words` content words.

    C-value(a) = log2(1 + |a|) · (f(a) - mean f of the longer terms that contain a), after Frantzi, Ananiadou
    and Mima, "Automatic recognition of multi-word terms: the C-value/NC-value method" (International Journal
    on Digital Libraries 3, 2000), with 1 + |a| so that single words score too. Candidates are runs of words
    between stop words and punctuation, as in RAKE (Rose, Engel, Cramer and Cowley, 2010), instead of
    part-of-speech patterns. Terms that occur once come after all others.
    """
    spellings, truncated = _count_terms(paragraphs, stop_words(language), max_words)
    frequency: Counter[Term] = Counter()
    for term, count in spellings.items():
        frequency[_fold(term)] += count
    scores = _c_values(frequency)
    best = sorted(scores, key=lambda term: (frequency[term] < 2, -scores[term], term))[:limit]
    display = _common_spellings(spellings, frozenset(best))
    keywords = (Keyword(term=display[t], score=round(scores[t], 3), count=frequency[t]) for t in best)
    return Keywords(keywords=tuple(keywords), truncated=truncated)


def _fold(term: Term) -> Term:
    return tuple(map(fold, term))


def _count_terms(paragraphs: Iterable[str], stops: frozenset[str], max_words: int) -> tuple[Counter[Term], bool]:
    counts: Counter[Term] = Counter()
    words = 0
    for paragraph in paragraphs:
        for run in _runs(paragraph, stops):
            words += len(run)
            if words > max_words:
                return counts, True
            counts.update(_subsequences(run))
    return counts, False


def _runs(paragraph: str, stops: frozenset[str]) -> Iterator[list[str]]:
    """Content words with nothing but white space between them."""
    run: list[str] = []
    end = 0
    for match in WORD.finditer(paragraph):
        word = match[0]
        adjoins = not paragraph[end : match.start()].strip()
        end = match.end()
        content = len(word) >= _SHORTEST_WORD and not word[0].isdigit() and fold(word) not in stops
        if run and not (adjoins and content):
            yield run
            run = []
        if content:
            run.append(word)
    if run:
        yield run


def _subsequences(run: Sequence[str], longest: int = LONGEST_TERM) -> Iterator[Term]:
    for start in range(len(run)):
        for end in range(start + 1, min(start + longest, len(run)) + 1):
            yield tuple(run[start:end])


def _c_values(frequency: Mapping[Term, int]) -> dict[Term, float]:
    nested: defaultdict[Term, _Nested] = defaultdict(_Nested)
    for term, count in frequency.items():
        for part in set(_subsequences(term)) - {term} if count > 1 else ():
            nested[part].occurrences += count
            nested[part].terms += 1
    scores: dict[Term, float] = {}
    for term, count in frequency.items():
        inside = nested[term].occurrences / nested[term].terms if term in nested else 0.0
        if count > inside:
            scores[term] = math.log2(1 + len(term)) * (count - inside)
    return scores


def _common_spellings(spellings: Mapping[Term, int], wanted: frozenset[Term]) -> dict[Term, str]:
    """For each folded term, its commonest spelling; the lower-case one when two are equally common."""
    best: dict[Term, tuple[int, str]] = {}
    for term, count in spellings.items():
        if (folded := _fold(term)) in wanted:
            best[folded] = max(best.get(folded, (0, "")), (count, " ".join(term)))
    return {folded: spelling for folded, (_, spelling) in best.items()}
