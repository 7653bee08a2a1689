"""Decodes bytes: detects the encoding, its confidence, and the losses."""

import codecs
import re
from dataclasses import dataclass
from typing import Final

from functions.workflows.documents.charset_labels import FALLBACK, codec_of_label

# Longest first: the UTF-32 mark begins with the UTF-16 one.
_BYTE_ORDER_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DECLARATION = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([\w:.-]{1,40})""", re.IGNORECASE)
_DECLARED_WITHIN: Final = 1_024
_ESCAPED: Final = "iso2022_jp_ext"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """Decoded text. `confidence` is from 0 to 1; `problem` is a note for readers of the result, or empty."""

    text: str
    encoding: str
    confidence: float
    problem: str = ""


@dataclass(frozen=True, slots=True)
class DeclaredCharset:
    """The codec of the charset a page declares, or None; `problem` as in `Decoded`."""

    codec: str | None
    problem: str = ""


def byte_order_mark(data: bytes) -> str | None:
    """The encoding that a leading byte order mark announces."""
    return next((encoding for mark, encoding in _BYTE_ORDER_MARKS if data.startswith(mark)), None)


def declared_charset(data: bytes) -> DeclaredCharset:
    """The charset an HTML page names in a meta element of its first 1,024 bytes, where the HTML standard
    (13.2.3.2, "prescan a byte stream") looks for it. Labels browsers do not read are passed over."""
    labels = [match[1].decode("ascii") for match in _DECLARATION.finditer(data[:_DECLARED_WITHIN])]
    for label in labels:
        if codec := codec_of_label(label):
            return DeclaredCharset(codec)
    if not labels:
        return DeclaredCharset(None)
    return DeclaredCharset(None, f"it declares the charset {labels[0]!r}, which browsers do not read; that was ignored")


def decode(data: bytes, declared: str | None = None) -> Decoded:
    """Byte order mark, then UTF-8, then the declared codec, then windows-1252, which always succeeds.

    UTF-8 goes before a declaration: text in another encoding hardly ever happens to be valid UTF-8, while
    declarations outlive conversions. Only ISO-2022-JP is valid UTF-8 always; its escape sequences tell.
    """
    if marked := byte_order_mark(data):
        return _decode_marked(data, marked)
    escaped = declared == _ESCAPED and b"\x1b" in data
    if not escaped and (text := _strictly(data, "utf-8")) is not None:
        return Decoded(text=text, encoding="utf-8", confidence=1.0)
    if declared and (text := _strictly(data, declared)) is not None:
        return Decoded(text=text, encoding=declared, confidence=0.9)
    return _decode_fallback(data)


def _strictly(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None


def _decode_marked(data: bytes, encoding: str) -> Decoded:
    text = _strictly(data, encoding)
    if text is not None:
        return Decoded(text=text, encoding=encoding, confidence=1.0)
    problem = f"it begins with a {encoding} byte order mark but is not valid {encoding}; bad bytes were replaced"
    return Decoded(text=data.decode(encoding, errors="replace"), encoding=encoding, confidence=0.5, problem=problem)


def _decode_fallback(data: bytes) -> Decoded:
    text = data.decode(FALLBACK, errors="replace")
    lost = text.count("\N{REPLACEMENT CHARACTER}")
    problem = "it is not valid UTF-8 and was read as windows-1252; if accents look wrong, save it as UTF-8"
    if lost:
        problem += f" ({lost} bytes have no meaning there and were replaced)"
    return Decoded(text=text, encoding=FALLBACK, confidence=0.3 if lost else 0.6, problem=problem)
