from enum import StrEnum
from typing import Any

import pytest

from engine.domain.errors import InvalidTransition
from engine.domain.lifecycle import (
    ENDED_RUNS,
    JOB_MOVES,
    OPEN_JOBS,
    OPEN_STAGES,
    RUN_MOVES,
    STAGE_MOVES,
    JobStatus,
    RunStatus,
    StageStatus,
    check_move,
)

TABLES: dict[str, tuple[type[StrEnum], Any]] = {
    "run": (RunStatus, RUN_MOVES),
    "stage": (StageStatus, STAGE_MOVES),
    "job": (JobStatus, JOB_MOVES),
}
ALLOWED = {
    "run": {
        "PENDING": "RUNNING CANCELLED FAILED",
        "RUNNING": "COMPLETED FAILED CANCELLED",
        "COMPLETED": "RUNNING",
        "FAILED": "RUNNING",
        "CANCELLED": "RUNNING",
    },
    "stage": {
        "PENDING": "RUNNING CANCELLED FAILED SKIPPED",
        "RUNNING": "COMPLETED SUSPENDED FAILED CANCELLED PENDING",
        "SUSPENDED": "COMPLETED FAILED CANCELLED RUNNING",
        "FAILED": "RUNNING",
    },
    "job": {
        "PENDING": "RUNNING BLOCKED CANCELLED",
        "BLOCKED": "PENDING CANCELLED FAILED",
        "RUNNING": "COMPLETED SUSPENDED FAILED PENDING BLOCKED CANCELLED",
        "SUSPENDED": "COMPLETED FAILED CANCELLED PENDING BLOCKED",
    },
}
EVERY_MOVE = [(kind, before, after) for kind, (enum, _) in TABLES.items() for before in enum for after in enum]


@pytest.mark.parametrize(("kind", "before", "after"), EVERY_MOVE)
def test_a_move_is_allowed_or_raises(kind: str, before: StrEnum, after: StrEnum) -> None:
    moves = TABLES[kind][1]
    if before is after or after in ALLOWED[kind].get(before, "").split():
        check_move(moves, before, after)
    else:
        with pytest.raises(InvalidTransition, match=f"a {kind} cannot go from {before} to {after}"):
            check_move(moves, before, after)


def test_a_status_is_open_as_long_as_a_move_leads_on() -> None:
    """Exceptions: a rerun, and a FAILED stage, which is open only while its retry waits."""
    assert frozenset({RunStatus.PENDING, RunStatus.RUNNING}) == frozenset(RunStatus) - ENDED_RUNS
    assert frozenset(STAGE_MOVES) - {StageStatus.FAILED} == OPEN_STAGES
    assert frozenset(JOB_MOVES) == OPEN_JOBS
