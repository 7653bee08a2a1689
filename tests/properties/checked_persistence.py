from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engine.domain.lifecycle import JOB_MOVES, RUN_MOVES, STAGE_MOVES, check_move
from engine.domain.records import JobRecord, RunRecord, StageRecord
from engine.ports.changes import Changes, Refused, Written
from engine.ports.persistence import Claim, ClaimRequest, Decision, NoClaim, Persistence
from engine.ports.transaction import RunFilter, Tx
from tests.kernel.ports import WrappedPersistence


@dataclass(frozen=True)
class Rows:
    runs: dict[str, RunRecord]
    stages: dict[str, StageRecord]
    jobs: dict[str, JobRecord]


class CheckedPersistence(WrappedPersistence):
    """Checks every row after every transaction: moves must be legal, and each raises the version."""

    def __init__(self, inner: Persistence) -> None:
        super().__init__(inner)
        self._before = Rows({}, {}, {})

    def transact[T](self, work: Callable[[Tx], T]) -> T:
        return self._checked(lambda: self.inner.transact(work))

    def write(self, changes: Changes) -> Written | Refused:
        return self._checked(lambda: self.inner.write(changes))

    def decide(
        self, run_id: str, decision: Decision, *, job_id: str | None = None, whole: bool = False
    ) -> Written | Refused:
        return self._checked(lambda: self.inner.decide(run_id, decision, job_id=job_id, whole=whole))

    def claim(self, request: ClaimRequest) -> Claim | NoClaim:
        return self._checked(lambda: self.inner.claim(request))

    def _checked[T](self, write: Callable[[], T]) -> T:
        answer = write()
        after = self.inner.read(_all_rows)
        for run_id, run in after.runs.items():
            _check(RUN_MOVES, self._before.runs.get(run_id), run)
        for stage_id, stage in after.stages.items():
            _check(STAGE_MOVES, self._before.stages.get(stage_id), stage)
        for job_id, job in after.jobs.items():
            if job_id in self._before.jobs:
                check_move(JOB_MOVES, self._before.jobs[job_id].status, job.status)
        self._before = after
        return answer


def _check[R: (RunRecord, StageRecord)](moves: Any, before: R | None, now: R) -> None:
    if before is None:
        return
    check_move(moves, before.status, now.status)
    assert now.status is before.status or now.version > before.version, f"{now.id} moved without a new version"


def _all_rows(tx: Tx) -> Rows:
    runs = tx.runs.search(RunFilter(), 100)
    return Rows(
        {run.id: run for run in runs},
        {stage.id: stage for run in runs for stage in tx.stages.of_run(run.id)},
        {job.id: job for run in runs for job in tx.jobs.of_run(run.id)},
    )
