"""Reads PDF with pypdf, page by page."""

import io
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from pypdf import PasswordType, PdfReader
from pypdf.errors import DependencyError
from pypdf.generic import Destination

from functions.workflows.documents.errors import DocumentError
from functions.workflows.documents.pdf_layout import Bookmarks, lay_out
from functions.workflows.documents.source import Source
from functions.workflows.documents.structure import Structure, StructureBuilder, clean

type OnPage = Callable[[int, int], None]

_LIGATURES: Final = str.maketrans({"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl"})
_LISTED_PAGES: Final = 10
_GARBLED: Final = 0.2

# pypdf logs every flaw of a file; the notes have those that matter.
logging.getLogger("pypdf").addHandler(logging.NullHandler())


class _Malformed(Exception):
    """The file violates the PDF format."""


class _Locked(Exception):
    """The file cannot be decrypted. The message names a remedy besides a password, if there is one."""


@contextmanager
def _parsing() -> Iterator[None]:
    try:
        yield
    except DependencyError as exc:  # AES without the cryptography package
        raise _Locked("; if it opens without a password, installing the package cryptography is enough") from exc
    except Exception as exc:  # pypdf raises anything on malformed files
        raise _Malformed(f"{type(exc).__name__}: {exc}") from exc


def read_pdf(source: Source, *, max_characters: int, on_page: OnPage) -> Structure:
    """`on_page(page, pages)` is called before each page and may raise to stop the reading."""
    builder = StructureBuilder()
    try:
        reader = _open(source)
        texts = _texts(source, reader, builder, max_characters, on_page)
    except _Locked as exc:
        raise DocumentError(
            f"{source.name!r} is encrypted; remove its password (for example "
            f"`qpdf --decrypt --password=… in.pdf out.pdf`) and analyse the result{exc}"
        ) from exc
    _check_text(source, texts, builder)
    builder.title = _title(reader)
    lay_out(builder, texts, _bookmarks(reader))
    return builder.build(pages=len(texts))


def _open(source: Source) -> PdfReader:
    try:
        with _parsing():
            reader = PdfReader(io.BytesIO(source.data))
            # Files that only restrict printing or copying open with an empty password.
            locked = reader.is_encrypted and reader.decrypt("") is PasswordType.NOT_DECRYPTED
            empty = not locked and not len(reader.pages)
    except _Malformed as exc:
        raise DocumentError(
            f"{source.name!r} is not a readable PDF ({exc}); open it in a viewer and save it again, "
            "or get a complete copy"
        ) from exc
    if locked:
        raise _Locked
    if empty:
        raise DocumentError(f"{source.name!r} is a PDF without pages; get a complete copy")
    return reader


def _texts(source: Source, reader: PdfReader, builder: StructureBuilder, limit: int, on_page: OnPage) -> list[str]:
    pages, room = len(reader.pages), limit
    texts: list[str] = []
    for number in range(1, pages + 1):
        on_page(number, pages)
        texts.append(_page_text(reader, number, builder))
        room -= len(texts[-1])
        if room < 0:
            raise DocumentError(
                f"{source.name!r} holds more than {limit:,} characters of text by page {number} of {pages}; "
                "split it, or raise max_characters in the config of the stage extract"
            )
    return texts


def _page_text(reader: PdfReader, number: int, builder: StructureBuilder) -> str:
    try:
        with _parsing():
            return reader.pages[number - 1].extract_text().translate(_LIGATURES)
    except _Malformed as exc:
        builder.note(f"page {number} could not be read ({exc})")
        return ""


def _check_text(source: Source, texts: Sequence[str], builder: StructureBuilder) -> None:
    empty = [number for number, text in enumerate(texts, start=1) if not clean(text)]
    if len(empty) == len(texts) and builder.notes:
        raise DocumentError(f"no page of {source.name!r} could be read: {builder.notes[0]}; get a complete copy")
    if len(empty) == len(texts):
        raise DocumentError(
            f"{source.name!r} has {len(texts)} page(s) but no text, so it is probably scanned; "
            "run OCR on it (for example `ocrmypdf in.pdf out.pdf`) and analyse the result"
        )
    garbled = [number for number, text in enumerate(texts, start=1) if _is_garbled(text)]
    if empty:
        builder.note(f"{len(empty)} of {len(texts)} pages hold no text, perhaps scanned images: {_listed(empty)}")
    if garbled:
        builder.note(
            f"{len(garbled)} of {len(texts)} pages use fonts that do not say their letters: {_listed(garbled)}"
        )


def _is_garbled(text: str) -> bool:
    return text.count("\N{REPLACEMENT CHARACTER}") > len(text) * _GARBLED


def _listed(pages: Sequence[int]) -> str:
    return ", ".join(map(str, pages[:_LISTED_PAGES])) + (", …" if len(pages) > _LISTED_PAGES else "")


def _title(reader: PdfReader) -> str:
    try:
        with _parsing():
            return clean((reader.metadata and reader.metadata.title) or "")
    except _Malformed:
        return ""


def _bookmarks(reader: PdfReader) -> Bookmarks:
    found: dict[int, dict[str, int]] = {}
    try:
        with _parsing():
            for destination, level in _flatten(reader.outline):
                page = reader.get_destination_page_number(destination)
                if page is not None and (title := clean(str(destination.title))):
                    found.setdefault(page + 1, {})[title] = level
    except _Malformed:
        return {}
    return found


def _flatten(outline: Sequence[object], level: int = 1) -> Iterator[tuple[Destination, int]]:
    for entry in outline:
        if isinstance(entry, Destination):
            yield entry, level
        elif isinstance(entry, list):
            yield from _flatten(entry, level + 1)
