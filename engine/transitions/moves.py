"""Updates of a status: checked against the tables of allowed moves, conditional on the status that was read."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from engine.domain.lifecycle import (
    JOB_MOVES,
    RUN_MOVES,
    STAGE_MOVES,
    JobStatus,
    RunStatus,
    StageStatus,
    check_move,
)
from engine.domain.records import JobRecord, RunRecord, StageRecord
from engine.ports.changes import Condition, JobPatch, JobUpdate, RunPatch, RunUpdate, StagePatch, StageUpdate, Write

VERSION = {"version": 1}


def move_run(
    run: RunRecord, to: RunStatus, patch: RunPatch | None = None, *, expect: Condition | None = None
) -> RunUpdate:
    check_move(RUN_MOVES, run.status, to)
    return RunUpdate(
        ids=(run.id,),
        set={**(patch or {}), "status": to},
        add=VERSION,
        expect={"status": run.status, **(expect or {})},
    )


def move_stage(
    stage: StageRecord, to: StageStatus, patch: StagePatch | None = None, *, expect: Condition | None = None
) -> StageUpdate:
    check_move(STAGE_MOVES, stage.status, to)
    return StageUpdate(
        ids=(stage.id,),
        set={**(patch or {}), "status": to},
        add=VERSION,
        expect={"status": stage.status, **(expect or {})},
    )


def move_job(
    job: JobRecord, to: JobStatus, patch: JobPatch | None = None, *, expect: Condition | None = None
) -> JobUpdate:
    check_move(JOB_MOVES, job.status, to)
    return JobUpdate(
        ids=(job.id,), set={**(patch or {}), "status": to}, expect={"status": job.status, **(expect or {})}
    )


def cancel_rows(stages: Sequence[StageRecord], jobs: Sequence[JobRecord], at: datetime) -> tuple[Write, ...]:
    """Cancels stages and jobs because their run ends.

    The row of a RUNNING job keeps its token and lease: its worker learns of the cancellation at its next heartbeat.
    """
    for stage in stages:
        check_move(STAGE_MOVES, stage.status, StageStatus.CANCELLED)
    for job in jobs:
        check_move(JOB_MOVES, job.status, JobStatus.CANCELLED)
    writes: list[Write] = []
    if stages:
        patch: StagePatch = {
            "status": StageStatus.CANCELLED,
            "completed_at": at,
            "next_poll_at": None,
            "poll_token": None,
            "poll_until": None,
        }
        writes.append(StageUpdate(ids=tuple(stage.id for stage in stages), set=patch, add=VERSION))
    if jobs:
        writes.append(JobUpdate(ids=tuple(job.id for job in jobs), set={"status": JobStatus.CANCELLED}))
    return tuple(writes)


def duration_ms(since: datetime | None, until: datetime) -> int | None:
    """Whole milliseconds, never below 0."""
    return None if since is None else max(0, (until - since) // timedelta(milliseconds=1))
