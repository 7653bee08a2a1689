from collections.abc import Sequence
from typing import Any

import pytest

from engine.domain.lifecycle import RunStatus
from engine.domain.records import RunRecord
from engine.ports.persistence import Persistence
from engine.ports.transaction import RunFilter
from engine.testing.contracts.changes import append_events, insert
from engine.testing.contracts.reading import everything
from engine.testing.contracts.rows import a_job, a_log, a_run, a_stage, an_annotation, an_artifact, at
from engine.testing.contracts.store import StoreContract


def ids(runs: Sequence[RunRecord]) -> list[str]:
    return [run.id for run in runs]


class RunsContract(StoreContract):
    def test_pending_runs_come_most_urgent_first_then_oldest(self, persistence: Persistence) -> None:
        pending: dict[str, Any] = {"status": RunStatus.PENDING}
        insert(
            persistence,
            a_run("new", created_at=at(2), **pending),
            a_run("old", created_at=at(1), **pending),
            a_run("urgent", created_at=at(3), priority=9, **pending),
            a_run("running"),
        )
        assert ids(persistence.read(lambda tx: tx.runs.pending(9))) == ["urgent", "old", "new"]
        assert ids(persistence.read(lambda tx: tx.runs.pending(1))) == ["urgent"]

    def test_quiet_runs_are_running_and_were_not_touched_since(self, persistence: Persistence) -> None:
        insert(
            persistence,
            a_run("quiet", updated_at=at(1)),
            a_run("quieter", updated_at=at(0)),
            a_run("at the limit", updated_at=at(5)),
            a_run("done", updated_at=at(0), status=RunStatus.COMPLETED),
        )
        assert ids(persistence.read(lambda tx: tx.runs.quiet(at(5), 9))) == ["quieter", "quiet"]
        assert ids(persistence.read(lambda tx: tx.runs.quiet(at(5), 1))) == ["quieter"]

    @pytest.mark.parametrize(
        ("where", "found"),
        [
            (RunFilter(), ["r4", "r3", "r2", "r1"]),
            (RunFilter(statuses=frozenset({RunStatus.FAILED, RunStatus.PENDING})), ["r3", "r2"]),
            (RunFilter(workflow_id="other"), ["r4"]),
            (RunFilter(tenant="acme"), ["r3", "r1"]),
            (RunFilter(created_since=at(2), created_until=at(4)), ["r3", "r2"]),
            (RunFilter(id_prefix="r1"), ["r1"]),
            (RunFilter(id_prefix="r_"), []),
            (RunFilter(id_prefix="%"), []),
            (RunFilter(before="r3"), ["r2", "r1"]),
            (RunFilter(tenant="acme", before="r3"), ["r1"]),
        ],
    )
    def test_a_search_finds_runs_that_meet_all_conditions_newest_first(
        self, persistence: Persistence, where: RunFilter, found: list[str]
    ) -> None:
        insert(
            persistence,
            a_run("r1", created_at=at(1), tenant="acme"),
            a_run("r2", created_at=at(2), status=RunStatus.FAILED),
            a_run("r3", created_at=at(3), tenant="acme", status=RunStatus.PENDING),
            a_run("r4", created_at=at(4), workflow_id="other"),
        )
        assert ids(persistence.read(lambda tx: tx.runs.search(where, 9))) == found
        assert ids(persistence.read(lambda tx: tx.runs.search(where, 1))) == found[:1]

    def test_ended_runs_are_terminal_and_come_oldest_first(self, persistence: Persistence) -> None:
        insert(
            persistence,
            a_run("later", status=RunStatus.FAILED, completed_at=at(2)),
            a_run("first", status=RunStatus.COMPLETED, completed_at=at(1)),
            a_run("too late", status=RunStatus.CANCELLED, completed_at=at(9)),
            a_run("open"),
        )
        assert ids(persistence.read(lambda tx: tx.runs.ended(at(9), 9))) == ["first", "later"]
        assert ids(persistence.read(lambda tx: tx.runs.ended(at(9), 1))) == ["first"]

    def test_deleting_a_run_deletes_all_its_rows_and_no_others(self, store: Persistence) -> None:
        _fill(store, "r")
        _fill(store, "s")
        kept = everything(store, "s")
        store.transact(lambda tx: tx.runs.delete(["r", "unknown"]))
        assert all(rows == [] for rows in everything(store, "r").values())
        assert store.read(lambda tx: tx.outbox.delivered("r.1")) == frozenset()
        assert everything(store, "s") == kept
        assert store.read(lambda tx: tx.outbox.delivered("s.1")) == {"plugin"}


def _fill(store: Persistence, run_id: str) -> None:
    insert(store, a_stage(run_id=run_id), a_job(run_id=run_id), a_log(f"{run_id} log", run_id))
    insert(store, an_artifact("file", run_id=run_id), an_annotation(f"{run_id} note", run_id=run_id))
    append_events(store, 1, run_id)
    store.transact(lambda tx: tx.outbox.mark_delivered(f"{run_id}.1", ["plugin"]))
