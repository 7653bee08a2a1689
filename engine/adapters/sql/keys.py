from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Insert, and_, bindparam, delete, select, text, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

from engine.adapters.sql.column_types import POSTGRESQL
from engine.adapters.sql.failures import LOCK_TIMEOUT, sqlstate
from engine.adapters.sql.rows import KEY
from engine.adapters.sql.schema import KEYS
from engine.adapters.sql.session import Session
from engine.domain.errors import IdempotencyInProgressError
from engine.domain.records import KeyRecord

_C = KEYS.c
_WAIT = text("select set_config('lock_timeout', '5000', true)")

_THIS = and_(
    _C.tenant == bindparam("for_tenant"),
    _C.command_type == bindparam("for_command"),
    _C.key == bindparam("for_key"),
)
_FIND = KEY.select.where(_THIS)
_REPLACE = update(KEYS).where(_THIS)
_DELETE = delete(KEYS).where(_THIS)
_OLDEST = (
    select(_C.tenant, _C.command_type, _C.key)
    .where(_C.acquired_at < bindparam("before", type_=_C.acquired_at.type))
    .order_by(_C.acquired_at)
    .limit(bindparam("row_limit"))
)
_PRUNE = delete(KEYS).where(tuple_(_C.tenant, _C.command_type, _C.key).in_(_OLDEST))


class SqlKeys:
    def __init__(self, session: Session) -> None:
        self._session = session

    def find(self, tenant: str, command_type: str, key: str) -> KeyRecord | None:
        row = self._session.first(_FIND, _identity(tenant, command_type, key))
        return None if row is None else KEY.record(row)

    def insert(self, record: KeyRecord) -> bool:
        statement = _insert_new(self._session.dialect)
        if self._session.dialect == POSTGRESQL:
            self._session.call(_WAIT)
        try:
            return bool(self._session.write_rows(statement, KEY.values(record)))
        except DBAPIError as error:
            if sqlstate(error) == LOCK_TIMEOUT:
                raise IdempotencyInProgressError(record.key, record.command_type) from error
            raise

    def replace(self, record: KeyRecord) -> None:
        values = KEY.values(record)
        self._session.write(_REPLACE.values(values), _identity_of(record))

    def delete(self, record: KeyRecord) -> None:
        self._session.write(_DELETE, _identity_of(record))

    def prune(self, before: datetime, limit: int) -> int:
        return self._session.write(_PRUNE, {"before": before, "row_limit": limit})


def _identity_of(record: KeyRecord) -> dict[str, Any]:
    return _identity(record.tenant, record.command_type, record.key)


def _identity(tenant: str, command_type: str, key: str) -> dict[str, Any]:
    return {"for_tenant": tenant, "for_command": command_type, "for_key": key}


@lru_cache
def _insert_new(dialect: str) -> Insert:
    if dialect == POSTGRESQL:
        return postgresql.insert(KEYS).on_conflict_do_nothing().returning(_C.key)
    return sqlite.insert(KEYS).on_conflict_do_nothing().returning(_C.key)
