from collections.abc import Iterable, Sequence
from datetime import datetime

from engine.adapters.memory.tables import Tables
from engine.domain.lifecycle import ENDED_RUNS, RunStatus
from engine.domain.records import RunRecord
from engine.ports.transaction import RunFilter


class MemoryRuns:
    def __init__(self, tables: Tables) -> None:
        self._tables, self._rows = tables, tables.runs

    def get(self, run_id: str) -> RunRecord:
        return self._rows.get(run_id)

    def find(self, run_id: str) -> RunRecord | None:
        return self._rows.find(run_id)

    def pending(self, limit: int) -> Sequence[RunRecord]:
        found = self._rows.where(lambda run: run.status is RunStatus.PENDING)
        return sorted(found, key=lambda run: (-run.priority, run.created_at, run.id))[:limit]

    def quiet(self, before: datetime, limit: int) -> Sequence[RunRecord]:
        found = self._rows.where(lambda run: run.status is RunStatus.RUNNING and run.updated_at < before)
        return sorted(found, key=lambda run: (run.updated_at, run.id))[:limit]

    def search(self, where: RunFilter, limit: int) -> Sequence[RunRecord]:
        found = self._rows.where(lambda run: _matches(run, where))
        return sorted(found, key=lambda run: run.id, reverse=True)[:limit]

    def ended(self, before: datetime, limit: int) -> Sequence[RunRecord]:
        found = [
            (run.completed_at, run.id, run)
            for run in self._rows.where(lambda run: run.status in ENDED_RUNS)
            if run.completed_at is not None and run.completed_at < before
        ]
        return [run for _, _, run in sorted(found, key=lambda each: each[:2])[:limit]]

    def delete(self, run_ids: Iterable[str]) -> None:
        for run_id in run_ids:
            self._delete_rows(run_id)
            self._rows.delete(run_id)

    def _delete_rows(self, run_id: str) -> None:
        tables = self._tables
        for counter in tables.spending.of_run(run_id):
            tables.spending.delete(counter.scope)
        for event in tables.outbox.of_run(run_id):
            tables.forget_delivered(event.id)
        for table in (
            tables.stages,
            tables.jobs,
            tables.logs,
            tables.artifacts,
            tables.annotations,
            tables.outbox,
            tables.ai_calls,
        ):
            for row in table.of_run(run_id):
                table.delete(row.id)


def _matches(run: RunRecord, where: RunFilter) -> bool:
    return (
        (not where.statuses or run.status in where.statuses)
        and where.workflow_id in {None, run.workflow_id}
        and where.tenant in {None, run.tenant}
        and (where.created_since is None or run.created_at >= where.created_since)
        and (where.created_until is None or run.created_at < where.created_until)
        and run.id.startswith(where.id_prefix or "")
        and (where.before is None or run.id < where.before)
    )
