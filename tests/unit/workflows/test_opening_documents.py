"""The faults of files, and the messages about them."""

import os
from pathlib import Path

import pytest

from functions.workflows.documents.errors import DocumentError
from functions.workflows.documents.source import Kind
from tests.unit.workflows.documents import read, read_path, text_of
from tests.unit.workflows.pdf_writer import write_pdf


def test_a_missing_file_is_named_with_the_place_that_was_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DocumentError, match=r"there is no file 'nothing\.md' \(looked for '.*/nothing\.md'\)"):
        read_path(Path("nothing.md"))


def test_a_relative_path_starts_at_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "note.txt").write_text("The tide turns at noon.")
    monkeypatch.chdir(tmp_path)
    assert text_of(read_path(Path("note.txt")).structure) == "The tide turns at noon."


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="is a directory; name a file in it"):
        read_path(tmp_path)


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DocumentError, match="is a device or a pipe"):
        read_path(tmp_path / "pipe")


def test_a_path_that_no_file_system_takes_is_refused() -> None:
    with pytest.raises(DocumentError, match="check"):
        read_path(Path("a" * 5_000))
    with pytest.raises(DocumentError, match="check"):
        read_path(Path("nul\0byte"))


def test_a_file_over_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("tide " * 100)
    with pytest.raises(DocumentError, match=r"'long\.txt' has 500 bytes, more than the limit of 499.*max_bytes"):
        read_path(tmp_path / "long.txt", max_bytes=499)


@pytest.mark.parametrize("content", [b"", b" \n\t\r\n", b"\xef\xbb\xbf", b"\0\0\0", b"\xff\xfe"])
def test_an_empty_document_is_refused(content: bytes) -> None:
    with pytest.raises(DocumentError, match=r"'empty\.txt' (is empty|holds no readable text)"):
        read("empty.txt", content)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("page.html", "<script>var x = 1</script><style>p {}</style>"),
        ("only-code.md", "```\ncode\n```"),
        ("only-rule.md", "---"),
    ],
)
def test_a_document_with_markup_but_no_text_is_refused(name: str, content: str) -> None:
    with pytest.raises(DocumentError, match="holds no readable text"):
        read(name, content)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"PK\x03\x04word/document.xml", "office document"),
        (b"\x89PNG\r\n\x1a\n", "PNG image; run OCR"),
        (b"\x7fELF\x02\x01", "a program"),
        (bytes(range(256)) * 40, "is binary, not text"),
        ("tide".encode("utf-16-le") * 20, "needs a byte order mark"),
    ],
)
def test_binary_content_is_refused_whatever_its_name_says(content: bytes, what: str) -> None:
    with pytest.raises(DocumentError, match=what):
        read("report.txt", content)


def test_one_stray_control_character_does_not_make_a_text_binary() -> None:
    text = "The tide\0 turns\x1b[31m at noon. " + "And the barge leaves. " * 9
    assert text_of(read("note.txt", text).structure).startswith("The tide turns[31m at noon")


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.md", "# Tide", Kind.MARKDOWN),
        ("a.HTM", "<p>Tide", Kind.HTML),
        ("a", "<!DOCTYPE html><p>Tide", Kind.HTML),
        ("a", "  <html><p>Tide", Kind.HTML),
        ("a.log", "Tide", Kind.TEXT),
        ("a.txt", write_pdf([["Tide"]]), Kind.PDF),
    ],
)
def test_content_decides_the_kind_before_the_name(name: str, content: str | bytes, kind: Kind) -> None:
    assert read(name, content).kind is kind
