from collections.abc import Callable
from dataclasses import dataclass

from engine.domain.lifecycle import check_move
from engine.domain.records import JobRecord, RunRecord, StageRecord
from engine.ports.persistence import Claim, ClaimRequest, NoClaim, Persistence
from engine.ports.transaction import RunFilter, Tx
from engine.ports.write_set import Applied, WriteSet
from tests.kernel.ports import WrappedPersistence


@dataclass(frozen=True)
class Rows:
    runs: dict[str, RunRecord]
    stages: dict[str, StageRecord]
    jobs: dict[str, JobRecord]


class CheckedPersistence(WrappedPersistence):
    """Looks at every row after every transaction: moves must be allowed ones, and every change a new version."""

    def __init__(self, inner: Persistence) -> None:
        super().__init__(inner)
        self._before = Rows({}, {}, {})

    def transact[T](self, work: Callable[[Tx], T]) -> T:
        return self._checked(lambda: self.inner.transact(work))

    def apply(self, write_set: WriteSet) -> Applied:
        return self._checked(lambda: self.inner.apply(write_set))

    def claim(self, request: ClaimRequest) -> Claim | NoClaim:
        return self._checked(lambda: self.inner.claim(request))

    def _checked[T](self, write: Callable[[], T]) -> T:
        answer = write()
        after = self.inner.read(_all_rows)
        for kind, before, now in (
            ("run", self._before.runs, after.runs),
            ("stage", self._before.stages, after.stages),
            ("job", self._before.jobs, after.jobs),
        ):
            for row_id, row in now.items():
                if row_id in before:
                    _check(kind, before[row_id], row)
        self._before = after
        return answer


def _check(kind: str, before: RunRecord | StageRecord | JobRecord, now: RunRecord | StageRecord | JobRecord) -> None:
    check_move(kind, before.status, now.status)
    if isinstance(before, JobRecord) or isinstance(now, JobRecord):
        return
    assert now.version > before.version or now == before, f"a {kind} changed without a new version"


def _all_rows(tx: Tx) -> Rows:
    runs = tx.runs.search(RunFilter(), 100)
    return Rows(
        {run.id: run for run in runs},
        {stage.id: stage for run in runs for stage in tx.stages.of_run(run.id)},
        {job.id: job for run in runs for job in tx.jobs.of_run(run.id)},
    )
