"""States and allowed moves, as data.

run    PENDING ──▶ RUNNING ──▶ COMPLETED · FAILED · CANCELLED        (COMPLETED · FAILED ──▶ RUNNING: rerun)
stage  PENDING ──▶ RUNNING ──▶ COMPLETED · FAILED · CANCELLED · SUSPENDED      (FAILED ──▶ RUNNING: retry)
                      ▲ │ lease lost                              │
              PENDING ◀─┘              RUNNING · COMPLETED · FAILED · CANCELLED ◀─┘
job    PENDING ──▶ RUNNING ──▶ COMPLETED · FAILED · CANCELLED · SUSPENDED
                      ▲ │ retry, lease lost                       │
              PENDING ◀─┘              PENDING · COMPLETED · FAILED · CANCELLED ◀─┘
"""

from collections.abc import Mapping
from enum import StrEnum

from engine.domain.errors import InvalidTransition


class Status(StrEnum):
    """The one set of states that runs, stages and jobs share."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUSPENDED = "SUSPENDED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    SKIPPED = "SKIPPED"


type Moves = Mapping[Status, frozenset[Status]]

S = Status
TERMINAL = frozenset({S.COMPLETED, S.FAILED, S.CANCELLED, S.SKIPPED})
OPEN = frozenset({S.PENDING, S.RUNNING, S.SUSPENDED})

RUN_MOVES: Moves = {
    S.PENDING: frozenset({S.RUNNING, S.CANCELLED, S.FAILED}),
    S.RUNNING: frozenset({S.COMPLETED, S.FAILED, S.CANCELLED}),
    S.COMPLETED: frozenset({S.RUNNING}),
    S.FAILED: frozenset({S.RUNNING}),
}
STAGE_MOVES: Moves = {
    S.PENDING: frozenset({S.RUNNING, S.CANCELLED, S.FAILED}),
    S.RUNNING: frozenset({S.COMPLETED, S.SUSPENDED, S.FAILED, S.CANCELLED, S.PENDING}),
    S.SUSPENDED: frozenset({S.COMPLETED, S.FAILED, S.CANCELLED, S.RUNNING}),
    S.FAILED: frozenset({S.RUNNING}),
}
JOB_MOVES: Moves = {
    S.PENDING: frozenset({S.RUNNING, S.CANCELLED}),
    S.RUNNING: frozenset({S.COMPLETED, S.SUSPENDED, S.FAILED, S.PENDING, S.CANCELLED}),
    S.SUSPENDED: frozenset({S.COMPLETED, S.FAILED, S.CANCELLED, S.PENDING}),
}
MOVES: Mapping[str, Moves] = {"run": RUN_MOVES, "stage": STAGE_MOVES, "job": JOB_MOVES}


def check_move(kind: str, before: Status, after: Status) -> None:
    """Raise `InvalidTransition` unless the tables allow the move. Staying where one is is no move."""
    if before is not after and after not in MOVES[kind].get(before, frozenset()):
        raise InvalidTransition(f"a {kind} cannot go from {before} to {after}")
