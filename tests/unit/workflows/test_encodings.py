"""Bytes to text."""

import codecs
import json

import pytest

from functions.workflows.documents.encoding import declared_charset, decode
from tests.unit.workflows.documents import read, text_of

TEXT = "Die Gezeiten prüfen täglich, was wir für sicher halten: „nichts“."


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


@pytest.mark.parametrize("charset", [b"no-such-thing", b"hex", b"x" * 100])
def test_a_declaration_that_python_cannot_follow_is_ignored(charset: bytes) -> None:
    assert declared_charset(b'<meta charset="' + charset + b'">') is None


def test_nothing_that_postgresql_cannot_store_is_left() -> None:
    document = read("note.txt", "tide\0 \x01and\ufeff moon \ufffe" + "fill up with plain words " * 20)
    stored = document.model_dump_json()
    assert "\\u0000" not in stored
    assert json.loads(stored)["structure"]["sections"][0]["paragraphs"][0].startswith("tide and moon fill")
