from collections.abc import Sequence

from engine.adapters.memory.tables import Tables
from engine.domain.records import AnnotationRecord
from engine.ports.transaction import AnnotationFilter


class MemoryAnnotations:
    def __init__(self, tables: Tables) -> None:
        self._rows = tables.annotations

    def of_run(self, run_id: str, where: AnnotationFilter) -> Sequence[AnnotationRecord]:
        found = (each for each in self._rows.of_run(run_id) if _matches(each, where))
        return sorted(found, key=lambda each: each.created_at)[: where.limit]


def _matches(each: AnnotationRecord, where: AnnotationFilter) -> bool:
    return (
        where.key in {None, each.key}
        and each.key.startswith(where.key_prefix or "")
        and where.scope in {None, each.scope}
        and where.scope_id in {None, each.scope_id}
        and where.actor_id in {None, each.actor_id}
        and where.actor_kind in {None, each.actor_kind}
        and where.generation in {None, each.generation}
        and (where.since is None or each.created_at >= where.since)
        and (where.until is None or each.created_at < where.until)
    )
