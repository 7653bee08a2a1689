"""Documents as the tests read them."""

from pathlib import Path

from functions.workflows.documents.reading import Extracted, read_document
from functions.workflows.documents.source import from_bytes, read_file
from functions.workflows.documents.structure import Structure

EVENTS = Path(__file__).parents[3] / "events"
LIMIT = 100_000_000


def ignore(page: int, pages: int) -> None:
    """An observer who does not care."""


def read(name: str, content: bytes | str, *, max_characters: int = LIMIT) -> Extracted:
    data = content.encode() if isinstance(content, str) else content
    return read_document(from_bytes(name, data, max_bytes=LIMIT), max_characters=max_characters, on_page=ignore)


def read_path(path: Path, *, max_bytes: int = LIMIT) -> Extracted:
    return read_document(read_file(str(path), max_bytes=max_bytes), max_characters=LIMIT, on_page=ignore)


def sample(name: str) -> Extracted:
    return read_path(EVENTS / name)


def headings(structure: Structure) -> list[tuple[int, str]]:
    return [(section.level, section.heading) for section in structure.sections if section.heading]


def text_of(structure: Structure) -> str:
    return "\n".join(structure.paragraphs())
