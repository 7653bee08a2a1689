"""What of prompts and answers is kept: AI_LOG_CONTENT."""

import hashlib
import json
from enum import StrEnum

from engine.domain.json_values import plain
from engine.domain.stored_value import Json

LARGEST_KEPT = 1_000_000
"""Characters of JSON. More, such as the vectors of a long list, is kept as its hash."""


class ContentPolicy(StrEnum):
    FULL = "full"
    HASH = "hash"
    NONE = "none"

    def kept(self, content: Json) -> Json:
        """What is stored of it."""
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
    """Whether an answer was kept so that it can be given again."""
    return isinstance(kept, dict) and set(kept) != {"sha256"}
