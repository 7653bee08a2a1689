"""The mapping of records to rows: fields and columns have the same names."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, Double, Row, Select, Table, select

from engine.adapters.sql.column_types import Document, EnumText, Instant, to_json, utc
from engine.adapters.sql.schema import AI_CALLS, ANNOTATIONS, ARTIFACTS, JOBS, KEYS, LOGS, OUTBOX, RUNS, STAGES
from engine.domain.ai_calls import AICallRecord
from engine.domain.errors import InvalidInput
from engine.domain.records import (
    AnnotationRecord,
    ArtifactRecord,
    JobRecord,
    KeyRecord,
    LogRecord,
    OutboxRecord,
    RunRecord,
    StageRecord,
)
from engine.domain.values import checked

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

type AnyRow = Row[*tuple[Any, ...]]

_NUL_IN_JSON = "\\u0000"


@dataclass(frozen=True, eq=False)
class RecordMapping[R: "DataclassInstance"]:
    """A record type and its table, which may have more columns: a newer release adds columns before its code runs."""

    name: str
    record_type: type[R]
    table: Table

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(field.name for field in fields(self.record_type))

    @cached_property
    def columns(self) -> list[Column[Any]]:
        return [self.table.c[name] for name in self.names]

    @cached_property
    def select(self) -> Select[Any]:
        return select(*self.columns)

    def record(self, row: AnyRow) -> R:
        return self.record_type(**row._mapping)  # noqa: SLF001 — its public name in SQLAlchemy

    def records(self, rows: Iterable[AnyRow]) -> list[R]:
        return [self.record(row) for row in rows]

    def values(self, record: R) -> dict[str, Any]:
        """The record's row. Raises `InvalidInput` for values that PostgreSQL cannot store, on SQLite too."""
        row = self.checked({name: getattr(record, name) for name in self.names})
        storable(row, self.name)
        return row

    def checked(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Checks a part of the columns; documents become plain JSON types."""
        unknown = fields.keys() - self._known
        if unknown:
            raise InvalidInput(f"a {self.name} has no columns {sorted(unknown)}")
        documents = {
            name: checked(fields[name], f"{self.name}.{name}", is_document=True)
            for name in self._documents
            if name in fields
        }
        return {**fields, **documents}

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.names)

    @cached_property
    def _documents(self) -> tuple[str, ...]:
        return tuple(each.name for each in self.columns if isinstance(each.type, Document))

    def from_json(self, row: Mapping[str, Any]) -> R:
        """The record of a row that PostgreSQL turned into JSON."""
        read = {name: row[name] for name in self.names}
        for name, reader in self._readers:
            if read[name] is not None:
                read[name] = reader(read[name])
        return self.record_type(**read)

    @cached_property
    def _readers(self) -> Sequence[tuple[str, Any]]:
        instants = [(each.name, instant) for each in self.columns if isinstance(each.type, Instant)]
        words = [(each.name, each.type.members) for each in self.columns if isinstance(each.type, EnumText)]
        floats = [(each.name, float) for each in self.columns if isinstance(each.type, Double)]
        return [*instants, *words, *floats]


RUN = RecordMapping("run", RunRecord, RUNS)
STAGE = RecordMapping("stage", StageRecord, STAGES)
JOB = RecordMapping("job", JobRecord, JOBS)
LOG = RecordMapping("log", LogRecord, LOGS)
ARTIFACT = RecordMapping("artifact", ArtifactRecord, ARTIFACTS)
ANNOTATION = RecordMapping("annotation", AnnotationRecord, ANNOTATIONS)
EVENT = RecordMapping("event", OutboxRecord, OUTBOX)
AI_CALL = RecordMapping("AI call", AICallRecord, AI_CALLS)
KEY = RecordMapping("idempotency key", KeyRecord, KEYS)


MAPPINGS: Mapping[type, RecordMapping[Any]] = {
    each.record_type: each for each in (RUN, STAGE, JOB, LOG, ARTIFACT, ANNOTATION, EVENT, AI_CALL, KEY)
}


def instant(text: str) -> datetime:
    return utc(datetime.fromisoformat(text))


def storable(row: Mapping[str, Any], what: str) -> str:
    """The row as JSON. Raises `InvalidInput` with the field that contains NaN, U+0000 or a value that is not JSON."""
    try:
        text = to_json(row)
        text.encode()
    except (TypeError, UnicodeEncodeError) as error:
        raise InvalidInput(f"{what} cannot be stored: {error}") from error
    except ValueError:
        _find_fault(row, what)
        raise
    if _NUL_IN_JSON in text:
        _find_fault(row, what)
    return text


def _find_fault(row: Mapping[str, Any], what: str) -> None:
    checked(json.loads(to_json(row, allow_nan=True)), what)
