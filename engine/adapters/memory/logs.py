from collections.abc import Iterable, Sequence

from engine.adapters.memory.tables import Tables
from engine.domain.records import LogRecord


class MemoryLogs:
    def __init__(self, tables: Tables) -> None:
        self._tables, self._rows = tables, tables.logs

    def append(self, logs: Iterable[LogRecord]) -> None:
        for log in logs:
            self._tables.belongs(log.workflow_run_id)
            if log.id not in self._rows:
                self._rows.insert(log.id, log)

    def of_run(
        self, run_id: str, *, after: str | None = None, stage_id: str | None = None, limit: int = 1000
    ) -> Sequence[LogRecord]:
        found = (
            log
            for log in self._rows.of_run(run_id)
            if (after is None or log.id > after) and stage_id in {None, log.stage_id}
        )
        return sorted(found, key=lambda log: log.id)[:limit]
