"""Bytes to text."""

import codecs
import json

import pytest

from functions.workflows.documents.charset_labels import CODECS
from functions.workflows.documents.encoding import DeclaredCharset, declared_charset, decode
from tests.unit.workflows.documents import read, text_of

TEXT = "Die Gezeiten prüfen täglich, was wir für sicher halten: „nichts“."
UNREAD = """
    undefined idna punycode unicode_escape raw_unicode_escape utf-7 utf-32 utf8mb4 utf_8_sig rot13 base64 hex charmap
    mbcs oem cp037 cp500 cp1140 cp273 none no-such-thing iso-2022-kr hz-gb-2312 replacement
"""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_unicode_is_read_without_remark(encoding: str) -> None:
    decoded = decode(TEXT.encode(encoding))
    assert (decoded.text, decoded.encoding, decoded.confidence, decoded.problem) == (TEXT, encoding, 1.0, "")


@pytest.mark.parametrize("mark", [codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE])
def test_either_byte_order_of_utf_16_is_read(mark: bytes) -> None:
    order = "utf-16-le" if mark == codecs.BOM_UTF16_LE else "utf-16-be"
    assert decode(mark + TEXT.encode(order)).text == TEXT


def test_what_is_not_utf_8_is_read_as_windows_1252_and_says_so() -> None:
    document = read("brief.txt", TEXT.encode("cp1252"))
    assert text_of(document.structure) == TEXT
    assert document.encoding == "cp1252"
    assert document.encoding_confidence == 0.6
    assert "read as windows-1252" in document.notes[0]


def test_bytes_without_meaning_are_replaced_and_counted() -> None:
    decoded = decode(b"caf\xe9 \x81 \x8d")
    assert decoded.text == "café \N{REPLACEMENT CHARACTER} \N{REPLACEMENT CHARACTER}"
    assert "2 bytes have no meaning" in decoded.problem


def test_a_byte_order_mark_before_something_else_is_not_believed_blindly() -> None:
    decoded = decode(codecs.BOM_UTF8 + b"caf\xe9")
    assert decoded.text.startswith("caf")
    assert "not valid utf-8-sig" in decoded.problem


def test_a_page_may_declare_its_charset() -> None:
    page = '<meta charset="koi8-r"><p>Привет, море'.encode("koi8-r")
    document = read("page.html", page)
    assert text_of(document.structure) == "Привет, море"
    assert (document.encoding, document.notes) == ("koi8-r", ())


def page(charset: str, text: str, encoding: str) -> bytes:
    return f'<!doctype html><meta charset="{charset}"><p>{text}</p>'.encode(encoding)


@pytest.mark.parametrize("charset", UNREAD.split())
def test_a_declaration_that_browsers_do_not_read_is_ignored_with_a_note(charset: str) -> None:
    document = read("page.html", page(charset, TEXT, "cp1252"))
    assert text_of(document.structure) == TEXT
    assert document.encoding == "cp1252"
    assert document.notes[0] == f"it declares the charset {charset!r}, which browsers do not read; that was ignored"


@pytest.mark.parametrize("charset", ["utf-16", "UTF-16LE", "utf-16be", "unicode", "x-user-defined", "us-ascii"])
@pytest.mark.parametrize("padding", ["", " "])
def test_a_declaration_that_its_own_page_refutes_is_read_as_the_html_standard_says(charset: str, padding: str) -> None:
    for encoding in ("cp1252", "utf-8"):
        document = read("page.html", page(charset, TEXT + padding, encoding))
        assert (text_of(document.structure), document.encoding) == (TEXT, encoding)


@pytest.mark.parametrize(
    ("charset", "codec", "text"),
    [
        ("iso-8859-9", "cp1254", "“Dağ”"),
        ("EUC-KR", "cp949", "똠방각하"),
        ("gb2312", "gb18030", "朱镕基"),
        ("shift_jis", "cp932", "①潮"),
        ("iso-8859-8-i", "iso8859-8", "ים"),
        ("macintosh", "mac-roman", "Œuvre"),
        ("iso-2022-jp", "iso2022_jp_ext", "潮の流れ"),
    ],
)
def test_a_label_is_read_as_browsers_read_it(charset: str, codec: str, text: str) -> None:
    document = read("page.html", page(charset, text, codec))
    assert (text_of(document.structure), document.encoding, document.notes) == (text, codec, ())


def test_a_page_that_only_claims_iso_2022_jp_is_read_as_utf_8() -> None:
    assert read("page.html", page("iso-2022-jp", TEXT, "utf-8")).encoding == "utf-8"


@pytest.mark.parametrize("codec", sorted(set(CODECS.values())))
def test_every_codec_reads_a_page_of_ascii_and_fails_in_one_way_only(codec: str) -> None:
    assert page("x", "The tide turns.", "ascii").decode(codec) == page("x", "The tide turns.", "ascii").decode()
    for byte in range(256):
        assert decode(bytes([0x41, byte, 0xFF]), codec).text


@pytest.mark.parametrize(
    "head",
    [b'<meta charset="no-such"><meta charset="koi8-r">', b"<meta charset=' koi8-r '>", b'<META CHARSET="KOI8-R">'],
)
def test_the_first_label_that_browsers_read_counts(head: bytes) -> None:
    assert declared_charset(head) == DeclaredCharset("koi8-r")


@pytest.mark.parametrize("head", [b"<p>The tide turns", b'<meta charset="">', b"x" * 1_024 + b"<meta charset=koi8-r>"])
def test_a_page_without_a_declaration_has_no_note(head: bytes) -> None:
    assert declared_charset(head) == DeclaredCharset(None)


def test_nothing_that_postgresql_cannot_store_is_left() -> None:
    document = read("note.txt", "tide\0 \x01and\ufeff moon \ufffe" + "fill up with plain words " * 20)
    stored = document.model_dump_json()
    assert "\\u0000" not in stored
    assert json.loads(stored)["structure"]["sections"][0]["paragraphs"][0].startswith("tide and moon fill")
