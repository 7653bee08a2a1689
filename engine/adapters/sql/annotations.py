from collections.abc import Sequence

from sqlalchemy import Select

from engine.adapters.sql.prefixes import starts_with
from engine.adapters.sql.rows import ANNOTATION
from engine.adapters.sql.schema import ANNOTATIONS
from engine.adapters.sql.session import Session
from engine.domain.records import AnnotationRecord
from engine.ports.transaction import AnnotationFilter

_C = ANNOTATIONS.c
_UNIQUE = ("workflow_run_id", "key", "idempotency_key")


class SqlAnnotations:
    def __init__(self, session: Session) -> None:
        self._session = session

    def of_run(self, run_id: str, where: AnnotationFilter) -> Sequence[AnnotationRecord]:
        return ANNOTATION.records(self._session.all(_search(run_id, where)))


def _search(run_id: str, where: AnnotationFilter) -> Select[tuple[object, ...]]:
    equal = {
        _C.key: where.key,
        _C.scope: where.scope,
        _C.scope_id: where.scope_id,
        _C.actor_id: where.actor_id,
        _C.actor_kind: where.actor_kind,
        _C.generation: where.generation,
    }
    conditions = [_C.workflow_run_id == run_id]
    conditions += [column == value for column, value in equal.items() if value is not None]
    if where.key_prefix:
        conditions.append(starts_with(_C.key, where.key_prefix))
    if where.since is not None:
        conditions.append(_C.created_at >= where.since)
    if where.until is not None:
        conditions.append(_C.created_at < where.until)
    return ANNOTATION.select.where(*conditions).order_by(_C.created_at, _C.position).limit(where.limit)
