from collections.abc import Sequence

from engine.adapters.memory.tables import Tables
from engine.domain.records import ArtifactRecord


class MemoryArtifacts:
    def __init__(self, tables: Tables) -> None:
        self._tables, self._rows = tables, tables.artifacts

    def of_run(self, run_id: str) -> Sequence[ArtifactRecord]:
        order = {stage.id: (stage.execution_group, stage.stage_number) for stage in self._tables.stages.of_run(run_id)}
        present = (each for each in self._rows.of_run(run_id) if each.stage_record_id in order)
        return sorted(present, key=lambda each: (order[each.stage_record_id], each.name, each.id))
