"""The policy for storing prompts and answers: AI_LOG_CONTENT."""

import hashlib
import json
from enum import StrEnum

from engine.domain.values import Json, plain

LARGEST_KEPT = 1_000_000
"""Characters of JSON. A longer value, such as the vectors of a long list, is stored as its hash."""


class ContentPolicy(StrEnum):
    FULL = "full"
    HASH = "hash"
    NONE = "none"

    def kept(self, content: Json) -> Json:
        """The stored form of a value."""
        match self:
            case ContentPolicy.NONE:
                return None
            case ContentPolicy.HASH:
                return {"sha256": sha256_of(content)}
            case ContentPolicy.FULL:
                text = json.dumps(content, default=str)
                return plain(content) if len(text) <= LARGEST_KEPT else {"sha256": sha256_of(content)}


def sha256_of(content: Json) -> str:
    """SHA-256 of the canonical JSON, in hex."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()


def is_whole(kept: Json) -> bool:
    """True when an answer was stored whole, so that it can be replayed."""
    return isinstance(kept, dict) and set(kept) != {"sha256"}
