"""The annotations of a body: one key with its value, or several at once."""

from collections.abc import Mapping

from engine.conventions import TypedKey
from engine.domain.values import Json, as_json


def one_attribute(key: object, value: object) -> dict[str, Json]:
    """The attribute as JSON, without a None. Raises `TypeError` when the key does not accept the value."""
    if value is None:
        return {}
    if isinstance(key, TypedKey):
        return {key.key: key.to_json(value)}
    if not isinstance(key, str) or not key:
        raise TypeError(f"an annotation key is a text that is not empty, not {key!r}")
    return {key: _json_of(f"annotation {key!r}", value)}


def clean_attributes(attributes: Mapping[str, object]) -> dict[str, Json]:
    """The attributes as JSON, without those that are None."""
    cleaned: dict[str, Json] = {}
    for key, value in attributes.items():
        cleaned |= one_attribute(key, value)
    return cleaned


def clean_payload(payload: object) -> Json:
    return None if payload is None else _json_of("annotation payload", payload)


def _json_of(what: str, value: object) -> Json:
    try:
        return as_json(value)
    except ValueError as error:
        raise TypeError(f"{what} cannot be stored: {error}") from error
