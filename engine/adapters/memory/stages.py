from collections.abc import Mapping, Sequence
from datetime import datetime

from engine.adapters.memory.tables import Tables
from engine.domain.lifecycle import StageStatus
from engine.domain.records import StageRecord
from engine.domain.values import StoredValue


class MemoryStages:
    def __init__(self, tables: Tables) -> None:
        self._rows = tables.stages

    def get(self, record_id: str) -> StageRecord:
        return self._rows.get(record_id)

    def of_run(self, run_id: str) -> Sequence[StageRecord]:
        return sorted(
            self._rows.of_run(run_id), key=lambda stage: (stage.execution_group, stage.stage_number, stage.id)
        )

    def find(self, record_id: str) -> StageRecord | None:
        return self._rows.find(record_id)

    def outputs(self, run_id: str, groups: range) -> Mapping[str, StoredValue]:
        return {
            stage.stage_id: stage.output_data
            for stage in self.of_run(run_id)
            if stage.execution_group in groups
            and stage.status is StageStatus.COMPLETED
            and stage.output_data is not None
        }

    def due(self, now: datetime, limit: int) -> Sequence[StageRecord]:
        found = [
            (stage.next_poll_at, stage.id, stage)
            for stage in self._rows.where(lambda stage: stage.status is StageStatus.SUSPENDED)
            if stage.next_poll_at is not None and stage.next_poll_at <= now and not _is_being_polled(stage, now)
        ]
        return [stage for _, _, stage in sorted(found, key=lambda each: each[:2])[:limit]]

    def claim_poll(self, record_id: str, *, token: str, now: datetime, until: datetime) -> StageRecord | None:
        stage = self._rows.find(record_id)
        if stage is None or stage.status is not StageStatus.SUSPENDED or _is_being_polled(stage, now):
            return None
        return self._rows.update(record_id, {"poll_token": token, "poll_until": until, "updated_at": now})


def _is_being_polled(stage: StageRecord, now: datetime) -> bool:
    return stage.poll_token is not None and stage.poll_until is not None and stage.poll_until > now
