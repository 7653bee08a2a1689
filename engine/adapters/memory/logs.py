from collections.abc import Sequence

from engine.adapters.memory.tables import Tables
from engine.domain.records import LogRecord


class MemoryLogs:
    def __init__(self, tables: Tables) -> None:
        self._rows = tables.logs

    def of_run(
        self, run_id: str, *, after: str | None = None, stage_id: str | None = None, limit: int = 1000
    ) -> Sequence[LogRecord]:
        found = (
            log
            for log in self._rows.of_run(run_id)
            if (after is None or log.id > after) and stage_id in {None, log.stage_id}
        )
        return sorted(found, key=lambda log: log.id)[:limit]
