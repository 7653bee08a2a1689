"""`UPDATE … RETURNING` of one row by id, built once for each set of columns."""

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Select, Update, bindparam, select, update

from engine.adapters.sql.rows import RecordMapping, storable
from engine.adapters.sql.session import Session
from engine.domain.errors import NotFound, StaleVersionError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def patch_row[R: "DataclassInstance"](
    session: Session, mapping: RecordMapping[R], row_id: str, patch: Mapping[str, Any], *, expected: int | None = None
) -> R:
    """Raises `version` where there is one. `updated_at` is the store's now unless the patch says it."""
    given = mapping.checked(patch)
    storable(given, mapping.name)
    if "updated_at" not in given:
        given["updated_at"] = session.now()
    statement = _update(mapping, tuple(sorted(given)), checks_version=expected is not None)
    parameters = {"row_id": row_id, **{f"new_{name}": value for name, value in given.items()}}
    if expected is not None:
        parameters["expected"] = expected
    rows = session.write_rows(statement, parameters)
    if not rows:
        raise _missing(session, mapping, row_id, expected)
    return mapping.record(rows[0])


@lru_cache(maxsize=256)
def _update(mapping: RecordMapping[Any], names: tuple[str, ...], *, checks_version: bool) -> Update:
    table = mapping.table
    new: dict[str, ColumnElement[Any]] = {name: bindparam(f"new_{name}", type_=table.c[name].type) for name in names}
    if "version" in table.c:
        new["version"] = table.c.version + 1
    statement = update(table).where(table.c.id == bindparam("row_id"))
    if checks_version:
        statement = statement.where(table.c.version == bindparam("expected"))
    return statement.values(new).returning(*mapping.columns)


def _missing(session: Session, mapping: RecordMapping[Any], row_id: str, expected: int | None) -> Exception:
    found = None if expected is None else session.first(_version(mapping), {"row_id": row_id})
    if found is None or expected is None:
        return NotFound(mapping.name, row_id)
    return StaleVersionError(mapping.name, row_id, expected, found[0])


@lru_cache
def _version(mapping: RecordMapping[Any]) -> Select[Any]:
    return select(mapping.table.c.version).where(mapping.table.c.id == bindparam("row_id"))
