"""Stores that do more around each transaction than the store they wrap."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from engine.domain.errors import StoreUnavailable
from engine.domain.lifecycle import JOB_MOVES, RUN_MOVES, STAGE_MOVES, check_move
from engine.domain.records import JobRecord, RunRecord, StageRecord
from engine.ports.changes import Changes, Refused, Written
from engine.ports.persistence import Claim, ClaimRequest, Decision, NoClaim, Persistence
from engine.ports.transaction import RunFilter, Tx
from tests.kernel.ports import WrappedPersistence


class _AroundTransactions(WrappedPersistence, ABC):
    @abstractmethod
    def around[T](self, transaction: Callable[[], T], *, may_repeat: bool) -> T:
        """Runs the transaction. Stores repeat those that `may_repeat` when they do not know whether they happened."""

    def transact[T](self, work: Callable[[Tx], T]) -> T:
        return self.around(lambda: self.inner.transact(work), may_repeat=False)

    def write(self, changes: Changes) -> Written | Refused:
        return self.around(lambda: self.inner.write(changes), may_repeat=True)

    def decide(
        self, run_id: str, decision: Decision, *, job_id: str | None = None, whole: bool = False
    ) -> Written | Refused:
        return self.around(lambda: self.inner.decide(run_id, decision, job_id=job_id, whole=whole), may_repeat=True)

    def claim(self, request: ClaimRequest) -> Claim | NoClaim:
        return self.around(lambda: self.inner.claim(request), may_repeat=True)


class Fault(StrEnum):
    BEFORE = "the store goes away before it has written"
    AFTER = "the store goes away after it has written"
    TWICE = "the answer is lost, and the store does the same again"


class FaultyPersistence(_AroundTransactions):
    """Has the faults that are planned, by how many transactions come before them. Counts transactions."""

    def __init__(self, inner: Persistence) -> None:
        super().__init__(inner)
        self._planned: dict[int, Fault] = {}
        self.transactions = 0

    def plan(self, fault: Fault, *, after: int) -> None:
        self._planned[self.transactions + after] = fault

    @property
    def has_plans(self) -> bool:
        return bool(self._planned)

    def heal(self) -> None:
        self._planned.clear()

    def around[T](self, transaction: Callable[[], T], *, may_repeat: bool) -> T:
        fault = self._planned.pop(self.transactions, None)
        self.transactions += 1
        if fault is Fault.BEFORE:
            raise StoreUnavailable(fault)
        answer = transaction()
        if fault is Fault.TWICE and may_repeat:
            return transaction()
        if fault is not None:
            raise StoreUnavailable(fault)
        return answer


@dataclass(frozen=True)
class _Rows:
    runs: dict[str, RunRecord]
    stages: dict[str, StageRecord]
    jobs: dict[str, JobRecord]


class CheckedPersistence(_AroundTransactions):
    """Checks every row after every transaction: moves must be legal, and each raises the version."""

    def __init__(self, inner: Persistence) -> None:
        super().__init__(inner)
        self._before = _Rows({}, {}, {})

    def around[T](self, transaction: Callable[[], T], *, may_repeat: bool) -> T:  # noqa: ARG002 — nothing is repeated
        answer = transaction()
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


def _all_rows(tx: Tx) -> _Rows:
    runs = tx.runs.search(RunFilter(), 100)
    return _Rows(
        {run.id: run for run in runs},
        {stage.id: stage for run in runs for stage in tx.stages.of_run(run.id)},
        {job.id: job for run in runs for job in tx.jobs.of_run(run.id)},
    )
