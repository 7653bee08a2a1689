"""Reads a document of any format: its structure, encoding and language."""

from pydantic import BaseModel, ConfigDict

from functions.workflows.documents.encoding import DeclaredCharset, declared_charset, decode
from functions.workflows.documents.errors import DocumentError
from functions.workflows.documents.language import LanguageGuess, guess_language
from functions.workflows.documents.read_html import read_html
from functions.workflows.documents.read_markdown import read_markdown
from functions.workflows.documents.read_pdf import OnPage, read_pdf
from functions.workflows.documents.read_text import read_text
from functions.workflows.documents.source import Kind, Source, kind_of
from functions.workflows.documents.structure import Structure
from functions.workflows.documents.tokens import words


class Extracted(BaseModel):
    """A document as read. `size` is in bytes; PDF has no encoding of its own; confidences run from 0 to 1."""

    model_config = ConfigDict(frozen=True)

    name: str
    kind: Kind
    size: int
    encoding: str | None
    encoding_confidence: float | None
    language: LanguageGuess
    structure: Structure
    notes: tuple[str, ...] = ()


def read_document(source: Source, *, max_characters: int, on_page: OnPage) -> Extracted:
    """`on_page(page, pages)` is called before each page, or once; what it raises ends the reading.

    Raises `DocumentError` for a document without readable text.
    """
    if (kind := kind_of(source)) is Kind.PDF:
        structure = read_pdf(source, max_characters=max_characters, on_page=on_page)
        return _extracted(source, kind, structure)
    on_page(1, 1)
    declared = declared_charset(source.data) if kind is Kind.HTML else DeclaredCharset(None)
    decoded = decode(source.data, declared.codec)
    structure = _read(kind, decoded.text)
    if not structure.has_text:
        raise DocumentError(f"{source.name!r} holds no readable text; analyse a document that does")
    extracted = _extracted(source, kind, structure)
    return extracted.model_copy(
        update={
            "encoding": decoded.encoding,
            "encoding_confidence": decoded.confidence,
            "notes": tuple(filter(None, [declared.problem, decoded.problem, *extracted.notes])),
        }
    )


def _read(kind: Kind, text: str) -> Structure:
    match kind:
        case Kind.HTML:
            return read_html(text)
        case Kind.MARKDOWN:
            return read_markdown(text)
        case _:
            return read_text(text)


def _extracted(source: Source, kind: Kind, structure: Structure) -> Extracted:
    language = guess_language(word for paragraph in structure.paragraphs() for word in words(paragraph))
    return Extracted(
        name=source.name,
        kind=kind,
        size=len(source.data),
        encoding=None,
        encoding_confidence=None,
        language=language,
        structure=structure,
        notes=structure.notes,
    )
