"""Checks rows as strictly as PostgreSQL does."""

from collections.abc import Hashable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from types import UnionType
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from engine.domain.errors import InvalidInput
from engine.domain.values import checked

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

type Columns = Mapping[str, tuple[type, ...] | None]
"""The types of each column; None for a column of any JSON."""


@cache
def columns_of(record_type: Hashable) -> Columns:
    return {name: _plain_types(hint) for name, hint in get_type_hints(record_type).items()}


def _plain_types(hint: Any) -> tuple[type, ...] | None:
    parts = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    plain = tuple(part for part in parts if isinstance(part, type) and part is not Any)
    return plain if len(plain) == len(parts) else None


def checked_columns(values: Mapping[str, Any], columns: Columns, kind: str) -> dict[str, Any]:
    unknown = values.keys() - columns.keys()
    if unknown:
        raise InvalidInput(f"a {kind} has no columns {sorted(unknown)}")
    return {name: _value(value, columns[name], f"{kind}.{name}") for name, value in values.items()}


def _value(value: Any, types: tuple[type, ...] | None, what: str) -> Any:
    if types is None:
        return _unicode(checked(value, what, is_document=True), what)
    if isinstance(value, int) and float in types:
        return float(value)
    if not isinstance(value, types):
        raise InvalidInput(f"{what} cannot be {value!r}")
    if isinstance(value, datetime):
        return _utc(value, what)
    if isinstance(value, str):
        checked(value, what)
        _unicode(value, what)
    return value


def _unicode(value: Any, what: str) -> Any:
    """Refuses half a surrogate pair, which UTF-8 cannot encode."""
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise InvalidInput(f"{what} holds half a surrogate pair; remove it") from error
    elif isinstance(value, dict | list):
        for part in value if isinstance(value, list) else [*value.keys(), *value.values()]:
            _unicode(part, what)
    return value


def _utc(value: datetime, what: str) -> datetime:
    if value.tzinfo is None:
        raise InvalidInput(f"{what} is {value!r} without a time zone; use an aware datetime")
    return value.astimezone(UTC)


def copied[R: DataclassInstance](row: R) -> R:
    """A row whose documents are copies, so that the caller cannot change the stored ones."""
    documents = {
        name: _copied_json(value)
        for name in _documents_of(type(row))
        if isinstance(value := getattr(row, name), dict | list)
    }
    return replace(row, **documents) if documents else row


@cache
def _documents_of(record_type: Hashable) -> tuple[str, ...]:
    return tuple(name for name, types in columns_of(record_type).items() if types is None)


def _copied_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied_json(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_copied_json(part) for part in value]
    return value
