"""Words, sentences, language, key terms, readability, summary."""

import time

import pytest

from functions.workflows.documents.keywords import extract_keywords
from functions.workflows.documents.language import guess_language
from functions.workflows.documents.statistics import difficulty, measure, reading_ease
from functions.workflows.documents.structure import Section, Structure
from functions.workflows.documents.summary import summarise
from functions.workflows.documents.tokens import sentences, syllables, words
from tests.unit.workflows.documents import ignore, read, sample


def of(*paragraphs: str) -> Structure:
    return Structure(sections=(Section(paragraphs=paragraphs),))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It's the harbour-master's 3.5 kW.", ["It's", "the", "harbour-master's", "3.5", "kW"]),
        ("l\N{RIGHT SINGLE QUOTATION MARK}eau 1,000 mots", ["l\N{RIGHT SINGLE QUOTATION MARK}eau", "1,000", "mots"]),
        ("海 sea_weed", ["海", "sea", "weed"]),
        ("... -- !", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert list(words(text)) == expected


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("The tide turns. The barge leaves! Does it? It does.", 4),
        ("Dr. Corrigan met Mr. J. Smith, e.g. at 3.5 m. depth.", 1),
        ('She said "stop." Nobody moved.', 2),
        ("Am 3. Mai kam z.B. die Flut. Sie ging.", 2),
        ("Wait... for it. Then go.", 2),
        ("満潮です。干潮です。", 2),
        ("no end", 1),
    ],
)
def test_sentences(text: str, count: int) -> None:
    assert len(list(sentences(text))) == count


@pytest.mark.parametrize(
    ("word", "language", "count"),
    [
        ("tide", "en", 1),
        ("table", "en", 2),
        ("the", "en", 1),
        ("turbine", "en", 2),
        ("Gezeiten", "de", 3),
        ("marée", "fr", 2),
        ("TV", "en", 1),
        ("agua", "es", 2),
    ],
)
def test_syllables(word: str, language: str, count: int) -> None:
    assert syllables(word, language) == count


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("The turbine stands in the water and nobody knows how long it will stay there.", "en"),
        ("Die Turbine steht im Wasser und niemand weiß, wie lange sie dort noch bleiben wird.", "de"),
        ("La turbine est dans l'eau et personne ne sait combien de temps elle y restera.", "fr"),
        ("La turbina está en el agua y nadie sabe cuánto tiempo se quedará en ese lugar.", "es"),
        ("La turbina è nell'acqua e nessuno sa per quanto tempo ci resterà, né perché sia lì.", "it"),
        ("De turbine staat in het water en niemand weet hoe lang zij daar nog zal blijven.", "nl"),
        ("A turbina está na água e ninguém sabe por quanto tempo ela vai ficar ali.", "pt"),
    ],
)
def test_a_sentence_is_enough_to_tell_the_language(text: str, code: str) -> None:
    guess = guess_language(words(text))
    assert guess.code == code
    assert 0 < guess.confidence < 1


@pytest.mark.parametrize("text", ["", "12 34 56", "Турбина стоит в воде", "kerrow skarra sund"])
def test_a_language_it_does_not_know_is_undetermined(text: str) -> None:
    assert guess_language(words(text)).model_dump() == {"code": "und", "confidence": 0.0, "alternatives": ()}


def test_key_terms_are_frequent_phrases_and_not_their_parts() -> None:
    text = "The tide gauge is old. A tide gauge is slow. The tide gauge drifts. The radar works."
    found = extract_keywords([text], language="en", limit=3, max_words=1_000)
    assert (found.keywords[0].term, found.keywords[0].count) == ("tide gauge", 3)
    assert "gauge" not in [word.term for word in found.keywords]


def test_key_terms_are_spelled_as_the_document_mostly_does() -> None:
    text = "Kerrow Sound is wide. In Kerrow Sound, KERROW SOUND and so on."
    assert extract_keywords([text], language="en", limit=1, max_words=1_000).keywords[0].term == "Kerrow Sound"


def test_counting_stops_at_the_limit_and_says_so() -> None:
    assert extract_keywords(["tide barge, moon"], language="en", limit=5, max_words=2).truncated
    assert not extract_keywords(["tide barge, moon"], language="en", limit=5, max_words=3).truncated


def test_reading_ease_is_flesch_s_formula() -> None:
    assert reading_ease(10, 1.5, "en") == pytest.approx(206.835 - 10.15 - 126.9, abs=0.05)
    assert reading_ease(10, 1.5, "de") == pytest.approx(180 - 10 - 87.75, abs=0.05)
    assert reading_ease(10, 1.5, "und") is None
    assert [difficulty(ease) for ease in (95, 65, 30, -10)] == ["very easy", "standard", "difficult", "very difficult"]


def test_statistics_count_prose_and_not_headings() -> None:
    found = measure(of("The tide turns. The barge leaves.", "Nobody waits."), "en", ignore)
    assert (found.words, found.sentences, found.paragraphs, found.sections) == (8, 3, 2, 0)
    assert found.words_per_sentence == 2.7


def test_statistics_of_a_document_with_headings_alone_are_zero() -> None:
    found = measure(Structure(sections=(Section(heading="Tide", level=1),)), "en", ignore)
    assert (found.words, found.reading_ease, found.difficulty, found.sections) == (0, None, None, 1)


def test_the_summary_quotes_the_document_in_its_order() -> None:
    document = sample("sample.md")
    found = summarise(document.structure, language="en", limit=4, max_sentences=400)
    text = " ".join(document.structure.paragraphs())
    places = [text.index(sentence) for sentence in found.sentences]
    assert places == sorted(places)
    assert len(places) == 4


def test_the_summary_does_not_repeat_itself() -> None:
    repeated = ["The tide turns twice a day in Kerrow Sound."] * 5 + ["The barge leaves Kerrow Sound at noon today."]
    assert len(summarise(of(*repeated), language="en", limit=5, max_sentences=400).sentences) == 2


def test_the_summary_of_a_long_text_looks_at_all_of_it_but_not_at_every_sentence() -> None:
    text = [f"Watch number {number} saw the tide turn in the sound." for number in range(5_000)]
    found = summarise(of(*text), language="en", limit=3, max_sentences=100)
    assert (found.considered, found.sentences_total) == (100, 5_000)


HOSTILE = {
    "dots": "." * 1_000_000,
    "brackets": "[" * 500_000,
    "hyphens": "ab-\n" * 200_000,
    "one word": "a" * 1_000_000,
    "blanks": "|" + " " * 500_000 + "x",
    "stars": "*a " * 200_000,
    "tags": "<a" * 200_000,
    "comments": "<!--" * 50_000,
    "quotes": '." ' * 300_000,
    "cdata": "<![CDATA[x>" * 50_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.html"])
def test_hostile_text_takes_linear_time(name: str, text: str) -> None:
    started = time.monotonic()
    structure = read(name, f"The tide. {text}").structure
    measure(structure, "en", ignore)
    extract_keywords(structure.paragraphs(), language="en", limit=5, max_words=100_000)
    summarise(structure, language="en", limit=5, max_sentences=100)
    assert time.monotonic() - started < 20
