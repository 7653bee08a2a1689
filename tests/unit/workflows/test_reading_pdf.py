"""PDF, well made and otherwise."""

import io

import pytest
from pypdf import PdfWriter

from functions.workflows.documents.errors import DocumentError
from functions.workflows.documents.reading import read_document
from functions.workflows.documents.source import from_bytes
from tests.unit.workflows.documents import LIMIT, headings, read, sample, text_of
from tests.unit.workflows.pdf_writer import write_pdf

PAGE = ["The tide turns twice a day, and the", "barge leaves with the second turn."]


def encrypted(algorithm: str, *, password: str) -> bytes:
    writer = PdfWriter(clone_from=io.BytesIO(write_pdf([PAGE])))
    writer.encrypt(password, owner_password="the owner", algorithm=algorithm)
    target = io.BytesIO()
    writer.write(target)
    return target.getvalue()


def test_the_sample_has_its_title_bookmarks_pages_and_whole_sentences() -> None:
    structure = sample("sample.pdf").structure
    assert structure.title == "Handbook of the tidal turbine barge"
    assert structure.pages == 3
    assert [(section.heading, section.page) for section in structure.sections][1:4] == [
        ("1. The crew", 1),
        ("2. Slack water", 1),
        ("3. Lifting the nacelle", 2),
    ]
    text = text_of(structure)
    assert "The tide table gives the beginning of slack water to within five minutes." in text
    assert "Kerrow Sound test site" not in text
    assert "Page 2" not in text


def test_without_bookmarks_headings_are_recognised_by_their_layout() -> None:
    pages = [["1 Introduction", *PAGE, "RESULTS", *PAGE], ["1.2 More of it", *PAGE]]
    assert headings(read("a.pdf", write_pdf(pages)).structure) == [
        (1, "1 Introduction"),
        (1, "RESULTS"),
        (2, "1.2 More of it"),
    ]


def test_a_sentence_runs_on_over_the_end_of_a_page() -> None:
    structure = read("a.pdf", write_pdf([PAGE[:1], PAGE[1:]])).structure
    assert text_of(structure) == " ".join(PAGE)


def test_two_hundred_pages_report_each_page_as_it_is_read() -> None:
    pages = [
        [f"Page {page} tells of line {line}, of tides and of barges." for line in range(40)] for page in range(200)
    ]
    seen: list[tuple[int, int]] = []
    source = from_bytes("long.pdf", write_pdf(pages), max_bytes=LIMIT)
    document = read_document(source, max_characters=LIMIT, on_page=lambda page, pages: seen.append((page, pages)))
    assert document.structure.pages == 200
    assert seen == [(page, 200) for page in range(1, 201)]
    assert "Page 199 tells of line 20" in text_of(document.structure)


def test_whoever_watches_can_stop_the_reading_between_pages() -> None:
    class Stop(Exception):
        pass

    def stop_at_two(page: int, pages: int) -> None:
        if page == 2:
            raise Stop

    source = from_bytes("a.pdf", write_pdf([PAGE] * 5), max_bytes=LIMIT)
    with pytest.raises(Stop):
        read_document(source, max_characters=LIMIT, on_page=stop_at_two)


@pytest.mark.parametrize("algorithm", ["RC4-128", "AES-128", "AES-256"])
def test_an_encrypted_file_is_refused_with_the_remedy(algorithm: str) -> None:
    with pytest.raises(DocumentError, match=r"'secret\.pdf' is encrypted; remove its password"):
        read("secret.pdf", encrypted(algorithm, password="open sesame"))


def test_a_file_that_only_restricts_printing_is_read() -> None:
    assert text_of(read("a.pdf", encrypted("RC4-128", password="")).structure) == " ".join(PAGE)


def test_scanned_pages_are_sent_to_ocr() -> None:
    with pytest.raises(DocumentError, match=r"'scan\.pdf' has 3 page\(s\) but no text.*OCR"):
        read("scan.pdf", write_pdf([[], [], []]))


def test_single_pages_without_text_are_noted() -> None:
    document = read("a.pdf", write_pdf([PAGE, [], PAGE, []]))
    assert document.notes == ("2 of 4 pages hold no text, perhaps scanned images: 2, 4",)


def test_text_over_the_limit_is_refused_while_it_is_read() -> None:
    with pytest.raises(DocumentError, match=r"more than 100 characters of text by page 2 of 9.*max_characters"):
        read("a.pdf", write_pdf([PAGE] * 9), max_characters=100)


WHOLE = write_pdf([PAGE] * 3)
DAMAGED = {
    "cut off": WHOLE[: len(WHOLE) // 3],
    "no objects": b"%PDF-1.7\n" + b"nothing of it is true" * 10,
    "no page tree": WHOLE.replace(b"/Pages", b"/Sages"),
    "no pages": WHOLE.replace(b"/Kids", b"/Kinds"),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_gives_one_clear_error(content: bytes) -> None:
    with pytest.raises(DocumentError, match=r"'broken\.pdf'"):
        read("broken.pdf", content)


def test_a_page_that_cannot_be_read_is_noted_and_the_others_are_read() -> None:
    data = write_pdf([["The first page of the log."], ["The second page of the log."]])
    document = read("a.pdf", data.replace(b"/FlateDecode", b"/NoSuchThing", 1))
    assert text_of(document.structure) == "The second page of the log."
    assert document.notes[0].startswith("page 1 could not be read")


def test_when_no_page_can_be_read_the_cause_is_named() -> None:
    with pytest.raises(DocumentError, match=r"no page of 'a\.pdf' could be read: page 1 .*NoSuchThing"):
        read("a.pdf", write_pdf([PAGE]).replace(b"/FlateDecode", b"/NoSuchThing"))


def test_pages_whose_letters_cannot_be_told_are_noted() -> None:
    fonts = (b"/Font << /F1 3 0 R >>", b"/Font [ /F1 3 0 R ]  ")
    document = read("a.pdf", write_pdf([PAGE, PAGE]).replace(*fonts, 1))
    assert document.notes == ("1 of 2 pages use fonts that do not say their letters: 1",)


def test_what_stands_at_the_edge_of_most_pages_is_left_out_but_only_there() -> None:
    pages = [["Log of the barge", f"{day}. day", "Log of the barge", "Nothing new.", f"- {day} -"] for day in range(9)]
    text = text_of(read("a.pdf", write_pdf(pages)).structure)
    assert text.count("Log of the barge") == 9
    assert "- 3 -" not in text


def test_ligatures_and_control_characters_are_gone() -> None:
    assert "\0" not in text_of(read("a.pdf", write_pdf([["A \0 stray NUL in the text."]])).structure)
