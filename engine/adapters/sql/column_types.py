"""Column types that hold the same Python values on both databases."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Dialect, Text
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeDecorator, TypeEngine

from engine.domain.errors import InvalidInput
from engine.domain.values import Json

POSTGRESQL = "postgresql"


def utc(value: datetime) -> datetime:
    """The same instant in UTC. A time without a zone is refused, because its instant is unknown."""
    if value.tzinfo is None:
        raise InvalidInput(f"{value!r} has no time zone; use an aware datetime")
    return value.astimezone(UTC)


def to_json(value: Json, *, allow_nan: bool = False) -> str:
    """Compact JSON. Raises `ValueError` for NaN and infinities, and `TypeError` for other types."""
    return json.dumps(value, ensure_ascii=False, allow_nan=allow_nan, separators=(",", ":"), default=_plain)


def _plain(value: object) -> object:
    match value:
        case datetime():
            return utc(value).isoformat()
        case Mapping():
            return dict(value)
        case frozenset():
            return sorted(value)
        case _:
            raise TypeError(f"{type(value).__name__} is not JSON")


class BytewiseText(TypeDecorator[str]):
    """Text that is compared and sorted byte by byte on every database, so that a prefix is a range."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return Text(collation="C") if dialect.name == POSTGRESQL else Text()


class EnumText(TypeDecorator[StrEnum]):
    """A member of an enum, as its text. No CHECK: a new member needs no migration."""

    impl = Text
    cache_ok = True

    def __init__(self, members: type[StrEnum]) -> None:
        super().__init__()
        self.members = members

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return Text(collation="C") if dialect.name == POSTGRESQL else Text()

    def process_bind_param(self, value: StrEnum | None, dialect: Dialect) -> str | None:  # noqa: ARG002 — SQLAlchemy's signature
        return None if value is None else str(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> StrEnum | None:  # noqa: ARG002 — SQLAlchemy's signature
        return None if value is None else self.members(value)


class Instant(TypeDecorator[datetime]):
    """An aware UTC datetime: `timestamptz`, or on SQLite a text of fixed width, which sorts by time."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return postgresql.TIMESTAMP(timezone=True) if dialect.name == POSTGRESQL else Text()

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        return utc(value) if dialect.name == POSTGRESQL else instant_text(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return utc(value if dialect.name == POSTGRESQL else datetime.fromisoformat(value))


def instant_text(value: datetime) -> str:
    return utc(value).isoformat(timespec="microseconds")


class Document(TypeDecorator[Json]):
    """JSON: `jsonb`, or text on SQLite. None is NULL unless `required`; then it is JSON's null."""

    impl = Text
    cache_ok = True

    def __init__(self, *, required: bool = False) -> None:
        super().__init__()
        self.required = required

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return postgresql.JSONB(none_as_null=not self.required) if dialect.name == POSTGRESQL else Text()

    def process_bind_param(self, value: Json, dialect: Dialect) -> Any:
        if dialect.name == POSTGRESQL or (value is None and not self.required):
            return value
        return to_json(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> Json:
        if dialect.name == POSTGRESQL or value is None:
            return value
        return json.loads(value)
