"""Keys of blobs: checked, never repaired, so that no key can mean another one in some store."""

import re
from urllib.parse import quote

from engine.domain.errors import InvalidBlobKey

_FORBIDDEN = re.compile(r"\\|%[0-9A-Fa-f]{2}|[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NO_SEGMENT = frozenset({"", ".", ".."})


def validate_key(key: str) -> str:
    """The key itself. Raises `InvalidBlobKey` unless it is relative, plain and without empty segments."""
    if not key:
        raise InvalidBlobKey("a blob key must not be empty")
    if found := _FORBIDDEN.search(key):
        raise InvalidBlobKey(f"blob key {key!r} holds {found.group()!r}; quote names with artifact_name()")
    bad = _NO_SEGMENT.intersection(key.split("/"))
    if bad:
        raise InvalidBlobKey(f"blob key {key!r} has the segment {min(bad)!r}; use relative keys like 'a/b.json'")
    return key


def is_under(key: str, prefix: str) -> bool:
    """True when the key is the prefix, or continues it with a whole segment."""
    return key == prefix or key.startswith(f"{prefix}/")


def artifact_name(name: str) -> str:
    """Any name as one key segment: different names give different segments, plain ones stay as they are."""
    if not name:
        raise InvalidBlobKey("an artifact needs a name")
    segment = quote(name, safe=" ", errors="surrogatepass").replace("~", "%7E").replace("%", "~")
    return segment.replace(".", "~2E") if segment in _NO_SEGMENT else segment
