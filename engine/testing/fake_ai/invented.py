"""Makes up answers from the question alone: the same question always gets the same answer."""

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from engine.domain.values import Json

_WORD = re.compile(r"[a-zA-Z]{3,}")
DIMENSIONS = 64


def count_tokens(text: str) -> int:
    """Estimates tokens, at four characters each."""
    return max(1, math.ceil(len(text) / 4)) if text else 0


def fraction(text: str) -> float:
    """A pseudo-random number from 0 to 1."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]) / 2**48


def sentence(prompt: str) -> str:
    words = _WORD.findall(prompt)[:12]
    return f"About {' '.join(words) or 'nothing'}: noted, and this is the answer of a model that is not real."


def instance(schema: Mapping[str, Any], prompt: str, root: Mapping[str, Any] | None = None, path: str = "") -> Json:
    """A value that fits the JSON schema. Of an enum's values it prefers one that the prompt mentions."""
    top = root or schema
    if "$ref" in schema:
        return instance(top["$defs"][schema["$ref"].rpartition("/")[2]], prompt, top, path)
    if options := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
        return instance(options[0], prompt, top, path)
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    return _mentioned(values, prompt) if values else _of_type(schema, prompt, top, path)


def _of_type(schema: Mapping[str, Any], prompt: str, top: Mapping[str, Any], path: str) -> Json:
    share = fraction(path + prompt)
    match schema.get("type"):
        case "object":
            fields = schema.get("properties", {})
            made: Json = {name: instance(part, prompt, top, f"{path}.{name}") for name, part in fields.items()}
        case "array":
            made = [instance(schema.get("items", {}), prompt, top, path)] * max(1, schema.get("minItems", 1))
        case "boolean":
            made = share > 0.5
        case "integer" | "number" as kind:
            made = _number(schema, kind, share)
        case "null":
            made = None
        case _:
            made = sentence(prompt)[: schema.get("maxLength", 10_000)]
    return made


def _mentioned(values: Sequence[Json], prompt: str) -> Json:
    text = prompt.lower()
    spoken_of = [value for value in values if isinstance(value, str) and value.lower().rstrip("s") in text]
    return spoken_of[0] if spoken_of else values[int(fraction(prompt) * len(values))]


def _number(schema: Mapping[str, Any], kind: str, share: float) -> float | int:
    low: float = schema.get("minimum", schema.get("exclusiveMinimum", 0))
    high: float = schema.get("maximum", schema.get("exclusiveMaximum", low + 1 if kind == "number" else low + 10))
    value = low + (high - low) * (0.1 + 0.8 * share)
    return round(value) if kind == "integer" else round(value, 3)


def vector(text: str, dimensions: int) -> list[float]:
    """Hashes words into a vector of length 1: texts with common words are near each other."""
    sums = [0.0] * dimensions
    for word in _WORD.findall(text.lower()):
        digest = hashlib.sha256(word.encode()).digest()
        sums[int.from_bytes(digest[:4]) % dimensions] += 1.0 if digest[4] % 2 else -1.0
    length = math.sqrt(sum(each * each for each in sums)) or 1.0
    return [round(each / length, 6) for each in sums]
