"""Guesses a text's language from its commonest words."""

from collections.abc import Iterable
from itertools import islice
from typing import Final

from pydantic import BaseModel, ConfigDict

from functions.workflows.documents.stop_words import STOP_WORDS
from functions.workflows.documents.tokens import fold

UNDETERMINED: Final = "und"
_SAMPLE: Final = 5_000
_LEAST_SHARE: Final = 0.12
_SURE_FROM: Final = 30


class LanguageGuess(BaseModel):
    """`code` is ISO 639-1, or "und" (ISO 639-2: undetermined). `confidence` runs from 0 to 1."""

    model_config = ConfigDict(frozen=True)

    code: str
    confidence: float
    alternatives: tuple[str, ...] = ()


def guess_language(words: Iterable[str]) -> LanguageGuess:
    """The language whose stop words make up most of the first 5,000 words: the small-word technique of
    Grefenstette, "Comparing two language identification schemes" (JADT 1995).

    Confidence is the lead over the second language, less for texts under 30 words.
    """
    sample = [fold(word) for word in islice(words, _SAMPLE)]
    if not sample:
        return LanguageGuess(code=UNDETERMINED, confidence=0.0)
    shares = {code: sum(word in known for word in sample) / len(sample) for code, known in STOP_WORDS.items()}
    best, second, *_ = sorted(shares, key=shares.__getitem__, reverse=True)
    if shares[best] < _LEAST_SHARE:
        return LanguageGuess(code=UNDETERMINED, confidence=0.0)
    lead = 1 - shares[second] / shares[best]
    confidence = lead * min(1.0, len(sample) / _SURE_FROM)
    alternatives = tuple(code for code in shares if code != best and shares[code] >= _LEAST_SHARE)
    return LanguageGuess(code=best, confidence=round(confidence, 2), alternatives=alternatives)
