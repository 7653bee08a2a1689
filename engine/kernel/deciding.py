"""Reads the rows for a decision, and commits its result."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from engine.domain.ai_calls import Spent
from engine.domain.records import JobRecord, RunRecord, StageRecord
from engine.ports.changes import Changes, Reason, Refused, Written
from engine.ports.deps import Deps
from engine.ports.persistence import LockedRun, Persistence
from engine.ports.transaction import AnnotationFilter, Tx
from engine.transitions.annotations import KnownAnnotations, needs_known
from engine.transitions.facts import AnnotationDraft
from engine.transitions.snapshots import RunSnapshot, StageSnapshot


def read_run(run_id: str, persistence: Persistence) -> RunSnapshot | None:
    """A consistent snapshot of the run, without locks."""

    def read(tx: Tx) -> RunSnapshot | None:
        run = tx.runs.find(run_id)
        return RunSnapshot(run, tx.stages.of_run(run_id), tx.jobs.of_run(run_id)) if run else None

    return persistence.read(read)


def decide_run(run_id: str, decide: Callable[[RunSnapshot], Changes | Refused], deps: Deps) -> Written | Refused:
    """Decides from the whole run, under its lock. A write whose answer was lost counts as written."""
    made: list[tuple[RunRecord, Changes]] = []

    def decision(locked: LockedRun) -> Changes | Refused:
        if locked.run is None:
            return Refused(Reason.GHOST)
        if made and _is_written(*made[-1], locked.run):
            return Refused(Reason.REPEAT)
        decided = decide(whole_run(locked, locked.run))
        if isinstance(decided, Changes):
            made.append((locked.run, decided))
        return decided

    answer = deps.persistence.decide(run_id, decision, whole=True)
    if made and isinstance(answer, Refused) and answer.reason is Reason.REPEAT:
        return Written(changes=made[-1][1], now=made[-1][1].at)
    return answer


def _is_written(before: RunRecord, changes: Changes, run: RunRecord) -> bool:
    """Whether the run is as these changes leave it: the store asks again only when a connection was lost."""
    return run.version == before.version + 1 and run.updated_at == changes.at


def decide_stage(
    job: JobRecord,
    decide: Callable[[StageSnapshot], Changes | Refused],
    deps: Deps,
    *,
    needs_whole_run: Callable[[StageSnapshot], bool],
    annotations: Sequence[AnnotationDraft] = (),
    whole: bool = False,
) -> Written | Refused:
    """Decides from one job and its stage, under the run's lock. Other rows and annotations are read only if needed.

    `whole`: read all rows of the run together with the lock, because the decision needs them.
    """

    def decision(locked: LockedRun) -> Changes | Refused:
        if locked.run is None:
            return Refused(Reason.GHOST)
        if locked.stage is None or locked.job is None:
            return Refused(Reason.LOST)
        snapshot = StageSnapshot(run=locked.run, stage=locked.stage, job=locked.job)
        if whole or needs_whole_run(snapshot):
            snapshot = replace(snapshot, whole=whole_run(locked, locked.run))
        if needs_known(annotations):
            snapshot = replace(snapshot, annotations=known_annotations(annotations, locked))
        return decide(snapshot)

    return deps.persistence.decide(job.workflow_run_id, decision, job_id=job.id, whole=whole)


def known_annotations(drafts: Sequence[AnnotationDraft], locked: LockedRun) -> KnownAnnotations:
    """Those of the drafts' annotations that are stored already."""
    keys = {(draft.record.workflow_run_id, draft.record.key) for draft in drafts}
    rows = (row for run_id, key in keys for row in locked.tx.annotations.of_run(run_id, AnnotationFilter(key=key)))
    return frozenset((row.key, row.idempotency_key) for row in rows if row.idempotency_key is not None)


def whole_run(locked: LockedRun, run: RunRecord) -> RunSnapshot:
    return RunSnapshot(run, locked.stages(), locked.jobs())


def earlier_spending(stage: StageRecord, deps: Deps) -> Mapping[str, Spent]:
    """The cost of earlier generations, by stage id. Only a rerun has earlier generations; other runs read nothing."""
    if stage.generation == 0:
        return {}
    return deps.persistence.read(lambda tx: tx.ai_calls.spent(stage.workflow_run_id))
