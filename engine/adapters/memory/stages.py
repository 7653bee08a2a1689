from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from engine.adapters.memory.tables import Tables
from engine.domain.errors import StaleVersionError
from engine.domain.lifecycle import Status
from engine.domain.records import StageRecord
from engine.domain.stored_value import StoredValue
from engine.ports.write_set import Patch


class MemoryStages:
    def __init__(self, tables: Tables) -> None:
        self._tables, self._rows = tables, tables.stages

    def get(self, record_id: str) -> StageRecord:
        return self._rows.get(record_id)

    def of_run(self, run_id: str) -> Sequence[StageRecord]:
        return sorted(
            self._rows.of_run(run_id), key=lambda stage: (stage.execution_group, stage.stage_number, stage.id)
        )

    def outputs(self, run_id: str) -> Mapping[str, StoredValue]:
        return {
            stage.stage_id: stage.output_data
            for stage in self.of_run(run_id)
            if stage.status is Status.COMPLETED and stage.output_data is not None
        }

    def insert_missing(self, stages: Iterable[StageRecord]) -> frozenset[str]:
        return frozenset(stage.id for stage in stages if self._insert(stage))

    def _insert(self, stage: StageRecord) -> bool:
        self._tables.belongs(stage.workflow_run_id)
        if any(present.stage_id == stage.stage_id for present in self._rows.of_run(stage.workflow_run_id)):
            return False
        self._rows.insert(stage.id, stage)
        return True

    def update(self, record_id: str, patch: Patch, *, expected_version: int | None = None) -> StageRecord:
        stage = self._rows.get(record_id)
        if expected_version not in {None, stage.version}:
            raise StaleVersionError("stage", record_id, expected_version or 0, stage.version)
        stamp = {"updated_at": self._tables.clock.now()}
        return self._rows.update(record_id, {**stamp, **patch, "version": stage.version + 1})

    def delete(self, record_ids: Iterable[str]) -> None:
        for record_id in record_ids:
            stage = self._rows.find(record_id)
            if stage is None:
                continue
            for annotation in self._tables.annotations.of_run(stage.workflow_run_id):
                if annotation.stage_record_id == record_id:
                    self._tables.annotations.update(annotation.id, {"stage_record_id": None})
            self._rows.delete(record_id)

    def due(self, now: datetime, limit: int) -> Sequence[StageRecord]:
        found = [
            (stage.next_poll_at, stage.id, stage)
            for stage in self._rows.where(lambda stage: stage.status is Status.SUSPENDED)
            if stage.next_poll_at is not None and stage.next_poll_at <= now and not _is_being_polled(stage, now)
        ]
        return [stage for _, _, stage in sorted(found, key=lambda each: each[:2])[:limit]]

    def claim_poll(self, record_id: str, *, token: str, now: datetime, until: datetime) -> StageRecord | None:
        stage = self._rows.find(record_id)
        if stage is None or stage.status is not Status.SUSPENDED or _is_being_polled(stage, now):
            return None
        return self.update(record_id, {"poll_token": token, "poll_until": until})


def _is_being_polled(stage: StageRecord, now: datetime) -> bool:
    return stage.poll_token is not None and stage.poll_until is not None and stage.poll_until > now
