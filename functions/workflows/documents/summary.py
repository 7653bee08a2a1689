"""Extractive summary: the sentences that most others resemble."""

import math
from collections.abc import Sequence
from typing import Final

from pydantic import BaseModel, ConfigDict

from functions.workflows.documents.stop_words import stop_words
from functions.workflows.documents.structure import Structure
from functions.workflows.documents.tokens import fold, sentences, words

_DAMPING: Final = 0.85
_ROUNDS: Final = 50
_CONVERGED: Final = 1e-5
_LEAST_WORDS: Final = 5
_LONGEST_SENTENCE: Final = 400
_TOO_ALIKE: Final = 0.6

type Weights = Sequence[Sequence[tuple[int, float]]]


class Summary(BaseModel):
    """Sentences in the document's order. `considered` of its `sentences_total` were compared."""

    model_config = ConfigDict(frozen=True)

    sentences: tuple[str, ...]
    considered: int
    sentences_total: int


def summarise(structure: Structure, *, language: str, limit: int, max_sentences: int) -> Summary:
    """The `limit` best sentences by TextRank: Mihalcea and Tarau, "TextRank: Bringing order into texts"
    (EMNLP 2004), with their similarity, shared words / (log |a| + log |b|), and damping 0.85.

    Comparing is quadratic in the sentences, so of a longer text `max_sentences` are taken, evenly spread.
    Sentences too alike to one already chosen are passed over.
    """
    total, candidates = 0, []
    for paragraph in structure.paragraphs():
        for sentence in sentences(paragraph):
            total += 1
            if _may_stand(sentence):
                candidates.append(sentence)
    chosen = _spread(candidates, max_sentences)
    stops = stop_words(language)
    bags = [frozenset(map(fold, words(sentence))) - stops for sentence in chosen]
    best = _choose(_rank(_similarities(bags)), bags, limit)
    return Summary(
        sentences=tuple(chosen[index] for index in sorted(best)),
        considered=len(chosen),
        sentences_total=total,
    )


def _may_stand(sentence: str) -> bool:
    """Prose of a quotable length: no captions, rows of tables or runaway text without full stops."""
    if len(sentence) > _LONGEST_SENTENCE or sentence.endswith(":"):
        return False
    return sum(1 for _ in words(sentence)) >= _LEAST_WORDS


def _spread(items: Sequence[str], limit: int) -> Sequence[str]:
    if len(items) <= limit:
        return items
    return [items[index * len(items) // limit] for index in range(limit)]


def _similarities(bags: Sequence[frozenset[str]]) -> Weights:
    rows: list[list[tuple[int, float]]] = [[] for _ in bags]
    logs = [math.log(len(bag)) if bag else 0.0 for bag in bags]
    for first, bag in enumerate(bags):
        for second in range(first + 1, len(bags)):
            if shared := len(bag & bags[second]):
                # Sentences of one word each have log 0 together.
                weight = shared / max(logs[first] + logs[second], math.log(2))
                rows[first].append((second, weight))
                rows[second].append((first, weight))
    return rows


def _rank(weights: Weights) -> list[float]:
    """PageRank over the weighted, undirected graph of sentences, by power iteration."""
    totals = [sum(weight for _, weight in row) for row in weights]
    ranks = [1.0] * len(weights)
    for _ in range(_ROUNDS):
        following = [
            (1 - _DAMPING) + _DAMPING * sum(ranks[other] * weight / totals[other] for other, weight in row)
            for row in weights
        ]
        moved = max((abs(new - old) for new, old in zip(following, ranks, strict=True)), default=0.0)
        ranks = following
        if moved < _CONVERGED:
            break
    return ranks


def _choose(ranks: Sequence[float], bags: Sequence[frozenset[str]], limit: int) -> list[int]:
    chosen: list[int] = []
    for index in sorted(range(len(ranks)), key=lambda index: (-ranks[index], index)):
        if len(chosen) == limit:
            break
        if all(_jaccard(bags[index], bags[other]) <= _TOO_ALIKE for other in chosen):
            chosen.append(index)
    return chosen


def _jaccard(first: frozenset[str], second: frozenset[str]) -> float:
    return len(first & second) / (len(first | second) or 1)
