"""The content of a store, in a comparable form."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from engine.domain.records import JobRecord, OutboxRecord, RunRecord, StageRecord
from engine.ports.persistence import Persistence
from engine.ports.transaction import AnnotationFilter, Tx


def run_of(persistence: Persistence, run_id: str = "r") -> RunRecord:
    return persistence.read(lambda tx: tx.runs.get(run_id))


def stage_of(persistence: Persistence, stage_id: str = "a", run_id: str = "r") -> StageRecord:
    return persistence.read(lambda tx: tx.stages.get(f"{run_id}.{stage_id}"))


def job_of(persistence: Persistence, stage_id: str = "a", run_id: str = "r") -> JobRecord:
    return persistence.read(lambda tx: tx.jobs.get(f"{run_id}.{stage_id}.job"))


def events_of(persistence: Persistence, run_id: str = "r") -> Sequence[OutboxRecord]:
    return persistence.read(lambda tx: tx.outbox.of_run(run_id))


def told(persistence: Persistence, run_id: str = "r") -> list[str]:
    return [event.event_type for event in events_of(persistence, run_id)]


def everything(persistence: Persistence, run_id: str) -> dict[str, Any]:
    """All rows of a run."""

    def work(tx: Tx) -> dict[str, Any]:
        run = tx.runs.find(run_id)
        families: dict[str, Sequence[Any]] = {
            "run": [] if run is None else [run],
            "stages": tx.stages.of_run(run_id),
            "jobs": tx.jobs.of_run(run_id),
            "logs": tx.logs.of_run(run_id),
            "artifacts": tx.artifacts.of_run(run_id),
            "annotations": tx.annotations.of_run(run_id, AnnotationFilter()),
            "events": tx.outbox.of_run(run_id),
        }
        return {name: [asdict(row) for row in rows] for name, rows in families.items()}

    return persistence.read(work)
