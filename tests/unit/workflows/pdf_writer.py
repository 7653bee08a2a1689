"""PDF as small as it gets: lines of Helvetica on A4 pages, and bookmarks."""

import zlib
from collections.abc import Mapping, Sequence

type Page = Sequence[str]


def write_pdf(pages: Sequence[Page], *, title: str = "", bookmarks: Mapping[str, int] | None = None) -> bytes:
    """`bookmarks` maps titles to pages, counted from 1. A page without lines has no text at all."""
    marks = list((bookmarks or {}).items())
    first_page, first_mark = 5, 5 + 2 * len(pages)
    kids = " ".join(f"{first_page + 2 * index} 0 R" for index in range(len(pages)))
    outlines = " /Outlines 4 0 R" if marks else ""
    last_mark = first_mark + len(marks) - 1
    objects = [
        _text(f"<< /Type /Catalog /Pages 2 0 R{outlines} >>"),
        _text(f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>"),
        _text("<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"),
        _text(f"<< /Type /Outlines /First {first_mark} 0 R /Last {last_mark} 0 R /Count {len(marks)} >>"),
    ]
    for index, page in enumerate(pages):
        objects += _page(page, content=first_page + 2 * index + 1)
    for index, (name, page_number) in enumerate(marks):
        target = first_page + 2 * (page_number - 1)
        following = f" /Next {first_mark + index + 1} 0 R" if index + 1 < len(marks) else ""
        objects.append(_text(f"<< /Title {_quoted(name)} /Parent 4 0 R /Dest [{target} 0 R /Fit]{following} >>"))
    objects.append(_text(f"<< /Title {_quoted(title)} >>"))
    return _assemble(objects)


def _page(lines: Page, *, content: int) -> list[bytes]:
    operators = "BT /F1 11 Tf 14 TL 60 780 Td " + " ".join(f"{_quoted(line)} Tj T*" for line in lines) + " ET"
    stream = zlib.compress(_text(operators if lines else ""))
    resources = "/Resources << /Font << /F1 3 0 R >> >> /MediaBox [0 0 595 842]"
    return [
        _text(f"<< /Type /Page /Parent 2 0 R {resources} /Contents {content} 0 R >>"),
        _text(f"<< /Filter /FlateDecode /Length {len(stream)} >>\nstream\n") + stream + b"\nendstream",
    ]


def _quoted(text: str) -> str:
    escaped = text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
    return f"({escaped})"


def _text(text: str) -> bytes:
    return text.encode("cp1252")


def _assemble(objects: Sequence[bytes]) -> bytes:
    document = bytearray(b"%PDF-1.4\n")
    offsets = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(document))
        document += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    start = len(document)
    document += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    document += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    document += b"trailer\n<< /Size %d /Root 1 0 R /Info %d 0 R >>\n" % (len(objects) + 1, len(objects))
    return bytes(document + b"startxref\n%d\n%%%%EOF\n" % start)
