"""Vectors of texts without a model."""

import hashlib
import math
import re

_WORD = re.compile(r"[^\W_]{3,}")


def embed(text: str, dimensions: int) -> list[float]:
    """The text's words hashed into a vector of length 1 (of length 0 without words).

    The signed hashing trick of Weinberger and others, "Feature hashing for large scale multitask learning"
    (ICML 2009): texts that share words get similar vectors.
    """
    vector = [0.0] * dimensions
    for word in _WORD.findall(text.casefold()):
        number = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest())
        vector[(number >> 1) % dimensions] += 1.0 if number & 1 else -1.0
    length = math.hypot(*vector)
    return [round(value / length, 6) for value in vector] if length else vector
