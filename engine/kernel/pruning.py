"""Deletes old runs, old idempotency keys and orphaned blobs, in bounded batches."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from engine.domain.blob_keys import run_prefix
from engine.domain.lifecycle import ENDED_RUNS
from engine.domain.records import RunRecord
from engine.domain.values import blob_keys
from engine.ports.deps import Deps
from engine.ports.transaction import RunFilter, Tx

BATCH = 100
LATE_WORKER = timedelta(hours=1)
"""The time after the end of its lease in which a late worker may still write blobs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    runs: int = 0
    blobs: int = 0
    keys: int = 0


def prune(deps: Deps, older_than: timedelta, *, lease: timedelta) -> Pruned:
    """Deletes runs that ended before `older_than`, idempotency keys of that age, and orphaned blobs of ended runs.

    It can be interrupted and repeated at any time.
    """
    runs, blobs = _delete_old_runs(deps, older_than)
    before, keys = deps.clock.now() - older_than, 0
    while deleted := deps.persistence.transact(lambda tx: tx.keys.prune(before, BATCH)):
        keys += deleted
    return Pruned(runs=runs, blobs=blobs + _delete_orphans(deps, lease), keys=keys)


def _delete_old_runs(deps: Deps, older_than: timedelta) -> tuple[int, int]:
    """Blobs are deleted first: after a crash the rows still lead to the rest."""
    before = deps.clock.now() - older_than
    runs = blobs = 0
    while batch := deps.persistence.read(lambda tx: tx.runs.ended(before, BATCH)):
        blobs += sum(deps.blob_store.delete_prefix(run_prefix(run)) for run in batch)
        ids = [run.id for run in batch]
        deps.persistence.transact(lambda tx, ids=ids: tx.runs.delete(ids))  # type: ignore[misc]  # mypy: default in lambda
        runs += len(batch)
    return runs, blobs


def _delete_orphans(deps: Deps, lease: timedelta) -> int:
    quiet_since = deps.clock.now() - lease - LATE_WORKER
    deleted = 0
    for run in _ended_runs(deps):
        timeouts = deps.pool_timeouts.values()
        slowest = timedelta(seconds=max(timeouts, default=0.0))
        if run.completed_at is None or run.completed_at > quiet_since - slowest:
            continue
        kept = _referenced_keys(run, deps)
        for key in [key for key in deps.blob_store.list(run_prefix(run)) if _is_result(key) and key not in kept]:
            deps.blob_store.delete(key)
            deleted += 1
    return deleted


def _ended_runs(deps: Deps) -> Iterator[RunRecord]:
    where = RunFilter(statuses=ENDED_RUNS)
    while page := deps.persistence.read(lambda tx, where=where: tx.runs.search(where, BATCH)):  # type: ignore[misc]  # mypy: default in lambda
        yield from page
        where = RunFilter(statuses=ENDED_RUNS, before=page[-1].id)


def _is_result(key: str) -> bool:
    """Whether the blob is an output or artifact. Files of `ctx.storage` belong to the author."""
    return key.endswith("/output.json") or "/artifacts/" in key


def _referenced_keys(run: RunRecord, deps: Deps) -> set[str]:
    def read(tx: Tx) -> set[str]:
        stored = [run.input, run.output]
        for stage in tx.stages.of_run(run.id):
            stored += [stage.input_data, stage.output_data]
        keys = {key for value in stored for key in blob_keys(value)}
        return keys | {artifact.blob_key for artifact in tx.artifacts.of_run(run.id)}

    return deps.persistence.read(read)
