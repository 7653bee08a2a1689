"""Keys of blobs. They are checked, never changed, so that a key is the same in every store."""

import hashlib
import re
from urllib.parse import quote

from engine.domain.errors import InvalidBlobKey
from engine.domain.records import RunRecord, StageRecord

ROOT = "workflow-v2"

_FORBIDDEN = re.compile(r"\\|%[0-9A-Fa-f]{2}|[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NO_SEGMENT = frozenset({"", ".", ".."})


def validate_key(key: str) -> str:
    """Returns the key. Raises `InvalidBlobKey` unless it is relative, plain and without empty segments."""
    if not key:
        raise InvalidBlobKey("a blob key must not be empty")
    if found := _FORBIDDEN.search(key):
        raise InvalidBlobKey(f"blob key {key!r} contains {found.group()!r}; quote names with artifact_name()")
    bad = _NO_SEGMENT.intersection(key.split("/"))
    if bad:
        raise InvalidBlobKey(f"blob key {key!r} has the segment {min(bad)!r}; use relative keys like 'a/b.json'")
    return key


def is_under(key: str, prefix: str) -> bool:
    """True when the key is the prefix, or continues it with a whole segment."""
    return key == prefix or key.startswith(f"{prefix}/")


def artifact_name(name: str) -> str:
    """Encodes a name as one key segment. Different names give different segments; plain ones stay unchanged."""
    if not name:
        raise InvalidBlobKey("an artifact needs a name")
    segment = quote(name, safe=" ", errors="surrogatepass").replace("~", "%7E").replace("%", "~")
    return segment.replace(".", "~2E") if segment in _NO_SEGMENT else segment


def run_prefix(run: RunRecord) -> str:
    return f"{ROOT}/{run.workflow_type}/{run.id}"


def generation_prefix(run: RunRecord, stage: StageRecord) -> str:
    """The prefix of all blobs of one generation of a stage. A rerun deletes them."""
    return f"{run_prefix(run)}/{stage.stage_id}/{stage.generation}"


def claim_prefix(run: RunRecord, stage: StageRecord, lease_token: str) -> str:
    """The prefix of one claim's blobs. It differs for each claim, so a late worker overwrites no committed blob."""
    claim = hashlib.sha256(lease_token.encode()).hexdigest()[:16]
    return f"{generation_prefix(run, stage)}/{claim}"
