"""Statuses and allowed moves: one enum and one table for runs, for stages and for jobs.

run    PENDING ──▶ RUNNING ──▶ COMPLETED · FAILED · CANCELLED      (COMPLETED · FAILED · CANCELLED ──▶ RUNNING: rerun)
stage  PENDING ──▶ RUNNING ──▶ COMPLETED · FAILED · CANCELLED · SUSPENDED      (FAILED ──▶ RUNNING: retry)
          │           ▲ │ lease lost                                │
          ▼   PENDING ◀─┘              RUNNING · COMPLETED · FAILED · CANCELLED ◀─┘
       SKIPPED
job    PENDING ──▶ RUNNING ──▶ COMPLETED · FAILED · CANCELLED · SUSPENDED
         ▲ │          ▲ │ retry, lease lost                         │
         │ ▼  PENDING ◀─┘              PENDING · COMPLETED · FAILED · CANCELLED ◀─┘
       BLOCKED (waits for a slot of a limit)
"""

from collections.abc import Mapping
from enum import StrEnum

from engine.domain.errors import InvalidTransition


class RunStatus(StrEnum):
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class StageStatus(StrEnum):
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUSPENDED = "SUSPENDED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    SKIPPED = "SKIPPED"


class JobStatus(StrEnum):
    PENDING = "PENDING"
    BLOCKED = "BLOCKED"
    RUNNING = "RUNNING"
    SUSPENDED = "SUSPENDED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


type Moves[S: StrEnum] = Mapping[S, frozenset[S]]

R, S, J = RunStatus, StageStatus, JobStatus

RUN_MOVES: Moves[RunStatus] = {
    R.PENDING: frozenset({R.RUNNING, R.CANCELLED, R.FAILED}),
    R.RUNNING: frozenset({R.COMPLETED, R.FAILED, R.CANCELLED}),
    R.COMPLETED: frozenset({R.RUNNING}),
    R.FAILED: frozenset({R.RUNNING}),
    R.CANCELLED: frozenset({R.RUNNING}),
}
STAGE_MOVES: Moves[StageStatus] = {
    S.PENDING: frozenset({S.RUNNING, S.CANCELLED, S.FAILED, S.SKIPPED}),
    S.RUNNING: frozenset({S.COMPLETED, S.SUSPENDED, S.FAILED, S.CANCELLED, S.PENDING}),
    S.SUSPENDED: frozenset({S.COMPLETED, S.FAILED, S.CANCELLED, S.RUNNING}),
    S.FAILED: frozenset({S.RUNNING}),
}
JOB_MOVES: Moves[JobStatus] = {
    J.PENDING: frozenset({J.RUNNING, J.BLOCKED, J.CANCELLED}),
    J.BLOCKED: frozenset({J.PENDING, J.CANCELLED, J.FAILED}),
    J.RUNNING: frozenset({J.COMPLETED, J.SUSPENDED, J.FAILED, J.PENDING, J.BLOCKED, J.CANCELLED}),
    J.SUSPENDED: frozenset({J.COMPLETED, J.FAILED, J.CANCELLED, J.PENDING, J.BLOCKED}),
}

ENDED_RUNS = frozenset({R.COMPLETED, R.FAILED, R.CANCELLED})
OPEN_STAGES = frozenset({S.PENDING, S.RUNNING, S.SUSPENDED})
OPEN_JOBS = frozenset({J.PENDING, J.BLOCKED, J.RUNNING, J.SUSPENDED})


def check_move[S: StrEnum](moves: Moves[S], before: S, after: S) -> None:
    """Raise `InvalidTransition` unless the table allows the move. An unchanged status is no move."""
    if before is not after and after not in moves.get(before, frozenset()):
        kind = type(before).__name__.removesuffix("Status").lower()
        raise InvalidTransition(f"a {kind} cannot go from {before} to {after}")
