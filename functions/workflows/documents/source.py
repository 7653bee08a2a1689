"""Loads a document's bytes, and refuses content that is no document."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from functions.workflows.documents.encoding import byte_order_mark
from functions.workflows.documents.errors import DocumentError

_MAGIC: Final = (
    (b"PK\x03\x04", "a ZIP archive or an office document (docx, odt, xlsx); export it as PDF or text"),
    (b"\xd0\xcf\x11\xe0", "an old office document (doc, xls); export it as PDF or text"),
    (b"{\\rtf", "an RTF document; export it as PDF or text"),
    (b"\x89PNG", "a PNG image; run OCR on it first"),
    (b"\xff\xd8\xff", "a JPEG image; run OCR on it first"),
    (b"GIF8", "a GIF image; run OCR on it first"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"\x7fELF", "a program"),
    (b"SQLite format 3", "an SQLite database"),
)
_CONTROLS: Final = bytes(code for code in range(32) if code not in b"\t\n\v\f\r\x1b")
_CONTROLS_ALLOWED: Final = 0.01
_PDF_MARK_WITHIN: Final = 1_024
_SNIFFED: Final = 512


class Kind(StrEnum):
    TEXT = "text"
    MARKDOWN = "markdown"
    HTML = "html"
    PDF = "pdf"


_SUFFIXES: Final = {
    ".md": Kind.MARKDOWN,
    ".markdown": Kind.MARKDOWN,
    ".html": Kind.HTML,
    ".htm": Kind.HTML,
    ".xhtml": Kind.HTML,
}


@dataclass(frozen=True, slots=True)
class Source:
    """A document: its bytes, and its name for messages and its suffix."""

    name: str
    data: bytes


def read_file(path: str, *, max_bytes: int) -> Source:
    """The file at `path`; a relative one starts at the working directory of this process."""
    file = Path(path).expanduser()
    try:
        if file.is_dir():
            raise DocumentError(f"{path!r} is a directory; name a file in it")
        if not file.exists():
            raise DocumentError(f"there is no file {path!r} (looked for {str(file.absolute())!r}); check the path")
        if not file.is_file():
            raise DocumentError(f"{path!r} is a device or a pipe; copy its content to a file and name that")
        _check_size(file.name, file.stat().st_size, max_bytes)
        data = file.read_bytes()
    except (OSError, ValueError) as exc:
        reason = (exc.strerror if isinstance(exc, OSError) else None) or str(exc)
        raise DocumentError(f"{path!r} cannot be read: {reason}; check its path and permissions") from exc
    return from_bytes(file.name, data, max_bytes=max_bytes)


def from_bytes(name: str, data: bytes, *, max_bytes: int) -> Source:
    _check_size(name, len(data), max_bytes)
    if not data.strip(b"\0 \t\r\n\v\f\xef\xbb\xbf"):
        raise DocumentError(f"{name!r} is empty; analyse a document that holds text")
    return Source(name, data)


def _check_size(name: str, size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise DocumentError(
            f"{name!r} has {size:,} bytes, more than the limit of {max_bytes:,}; "
            "split it, or raise max_bytes in the config of the stage extract"
        )


def kind_of(source: Source) -> Kind:
    """The format, by content first, then by the name's suffix. Raises for anything but text and PDF."""
    if b"%PDF-" in source.data[:_PDF_MARK_WITHIN]:
        return Kind.PDF
    _refuse_binary(source)
    suffix = Path(source.name).suffix.casefold()
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    head = source.data[:_SNIFFED].lstrip().lower()
    return Kind.HTML if head.startswith((b"<!doctype html", b"<html")) else Kind.TEXT


def _refuse_binary(source: Source) -> None:
    for magic, what in _MAGIC:
        if source.data.startswith(magic):
            raise DocumentError(f"{source.name!r} is {what}")
    if byte_order_mark(source.data):
        return
    controls = len(source.data) - len(source.data.translate(None, _CONTROLS))
    if controls > len(source.data) * _CONTROLS_ALLOWED:
        raise DocumentError(
            f"{source.name!r} is binary, not text: {controls:,} of {len(source.data):,} bytes are controls; "
            "give a text, Markdown, HTML or PDF file (UTF-16 text needs a byte order mark)"
        )
