"""Keys of blobs. They are checked, never changed, so that a key is the same in every store."""

import hashlib
import re
from urllib.parse import quote

from engine.domain.errors import InvalidBlobKey
from engine.domain.limits import NAME
from engine.domain.records import RunRecord, StageRecord
from engine.domain.shortened import shortened

ROOT = "workflow-v2"

KEY_BYTES = 900
"""S3 holds 1,024; the rest is for the prefix of a bucket."""
SEGMENT_BYTES = 250
"""File systems hold 255; the rest is for the ending that marks a blob's file."""
NAME_BYTES = 240
"""Of a name that becomes a segment, or its beginning."""

_FORBIDDEN = re.compile(r"\\|%[0-9A-Fa-f]{2}|[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_WITH_HASH = re.compile(r"~~[0-9a-f]{64}")
_ENDING = re.compile(r"\.[A-Za-z0-9]{1,10}\Z")
_BROKEN_ESCAPE = re.compile(r"[~%][0-9A-F]?\Z")
_NO_SEGMENT = frozenset({"", ".", ".."})


def validate_key(key: str) -> str:
    """Returns the key. Raises `InvalidBlobKey` unless it is relative, plain and without empty segments."""
    if not key:
        raise InvalidBlobKey("a blob key must not be empty")
    if len(key.encode(errors="surrogatepass")) > KEY_BYTES:
        raise InvalidBlobKey(f"blob key {shortened(key)} has more than {KEY_BYTES} bytes; use shorter names")
    if found := _FORBIDDEN.search(key):
        raise InvalidBlobKey(f"blob key {key!r} contains {found.group()!r}; quote names with artifact_name()")
    bad = _NO_SEGMENT.intersection(key.split("/"))
    if bad:
        raise InvalidBlobKey(f"blob key {key!r} has the segment {min(bad)!r}; use relative keys like 'a/b.json'")
    if max(len(segment.encode()) for segment in key.split("/")) > SEGMENT_BYTES:
        raise InvalidBlobKey(
            f"blob key {shortened(key)} has a segment of more than {SEGMENT_BYTES} bytes; use shorter names"
        )
    return key


def is_under(key: str, prefix: str) -> bool:
    """True when the key is the prefix, or continues it with a whole segment."""
    return key == prefix or key.startswith(f"{prefix}/")


def artifact_name(name: str) -> str:
    """Encodes a name as one key segment. Different names give different segments; plain ones stay unchanged.

    A name whose segment is too long keeps its beginning and its ending, with a hash between them. No other segment
    contains "~~". Raises `InvalidBlobKey` for an empty name, and for one of more than 1,024 characters.
    """
    if not name:
        raise InvalidBlobKey("an artifact needs a name")
    if len(name) > NAME:
        raise InvalidBlobKey(f"the name {shortened(name)} has {len(name):,} characters; use at most {NAME:,}")
    segment = quote(name, safe=" ", errors="surrogatepass").replace("~", "%7E").replace("%", "~")
    if len(segment) > NAME_BYTES:
        return _with_hash(name, segment)
    return segment.replace(".", "~2E") if segment in _NO_SEGMENT else segment


def storage_name(name: str) -> str:
    """The name as the end of a key, with its slashes. Segments that are too long are replaced by unique short ones."""
    return "/".join(_storage_segment(segment) for segment in name.split("/"))


def _storage_segment(segment: str) -> str:
    """A short segment that looks like a replacement is replaced too, so that no two names share a key."""
    if len(segment.encode(errors="surrogatepass")) <= NAME_BYTES and not _WITH_HASH.search(segment):
        return segment
    return _with_hash(segment, segment)


def _with_hash(name: str, segment: str) -> str:
    """Beginning and ending of the segment, without broken escapes, around the SHA-256 of the name."""
    ending = _ENDING.search(segment)
    last = ending.group() if ending else ""
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()
    first = segment.encode(errors="surrogatepass")[: NAME_BYTES - len(f"~~{digest}{last}")]
    return f"{_BROKEN_ESCAPE.sub('', first.decode(errors='ignore'))}~~{digest}{last}"


def run_prefix(run: RunRecord) -> str:
    return f"{ROOT}/{run.workflow_type}/{run.id}"


def generation_prefix(run: RunRecord, stage: StageRecord) -> str:
    """The prefix of all blobs of one generation of a stage. A rerun deletes them."""
    return f"{run_prefix(run)}/{stage.stage_id}/{stage.generation}"


def claim_prefix(run: RunRecord, stage: StageRecord, lease_token: str) -> str:
    """The prefix of one claim's blobs. It differs for each claim, so a late worker overwrites no committed blob."""
    claim = hashlib.sha256(lease_token.encode()).hexdigest()[:16]
    return f"{generation_prefix(run, stage)}/{claim}"
