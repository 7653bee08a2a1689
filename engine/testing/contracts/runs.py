from collections.abc import Sequence
from typing import Any

import pytest

from engine.domain.errors import StaleVersionError
from engine.domain.lifecycle import Status
from engine.domain.records import RunRecord
from engine.ports.persistence import Persistence
from engine.ports.transaction import RunFilter, Tx
from engine.testing.clock import FakeClock
from engine.testing.contracts.reading import everything, run_of
from engine.testing.contracts.rows import (
    AT,
    a_job,
    a_log,
    a_run,
    a_stage,
    an_annotation,
    an_artifact,
    an_event,
    at,
)
from engine.testing.contracts.store import StoreContract


def insert_runs(persistence: Persistence, *runs: RunRecord) -> None:
    def work(tx: Tx) -> None:
        for run in runs:
            tx.runs.insert(run)

    persistence.transact(work)


def ids(runs: Sequence[RunRecord]) -> list[str]:
    return [run.id for run in runs]


class RunsContract(StoreContract):
    def test_every_column_comes_back(self, persistence: Persistence) -> None:
        full = a_run(
            config={"a": {"b": 1}},
            tenant="acme",
            output={"value": None},
            priority=9,
            version=3,
            event_seq=4,
            group_no=2,
            group_open=1,
            completed_at=at(1.5),
            duration_ms=1500,
            total_cost=0.125,
            total_tokens=42,
            parent_run_id="parent",
            metadata={"legacy": True},
            failure_code="CODE",
            failure_message="what happened",
        )
        insert_runs(persistence, full)
        assert run_of(persistence) == full

    def test_an_update_touches_only_what_it_names(self, persistence: Persistence, clock: FakeClock) -> None:
        insert_runs(persistence, a_run(tenant="acme", config={"a": 1}))
        clock.advance(7)
        updated = persistence.transact(lambda tx: tx.runs.update("r", {"priority": 8, "output": {"value": 1}}))
        assert updated == run_of(persistence)
        expected = a_run(tenant="acme", config={"a": 1}, priority=8, output={"value": 1}, version=2, updated_at=at(7))
        assert updated == expected

    def test_an_update_can_say_when_it_happened(self, persistence: Persistence) -> None:
        insert_runs(persistence, a_run())
        assert persistence.transact(lambda tx: tx.runs.update("r", {"updated_at": at(3)})).updated_at == at(3)

    def test_an_update_can_clear_a_column(self, persistence: Persistence) -> None:
        insert_runs(persistence, a_run(output={"value": 1}, failure_code="X"))
        persistence.transact(lambda tx: tx.runs.update("r", {"output": None, "failure_code": None}))
        assert run_of(persistence) == a_run(version=2)

    def test_a_stale_version_is_refused(self, persistence: Persistence) -> None:
        insert_runs(persistence, a_run())
        persistence.transact(lambda tx: tx.runs.update("r", {"priority": 1}, expected_version=1))
        with pytest.raises(StaleVersionError):
            persistence.transact(lambda tx: tx.runs.update("r", {"priority": 2}, expected_version=1))
        assert run_of(persistence).priority == 1

    def test_pending_runs_come_most_urgent_first_then_oldest(self, persistence: Persistence) -> None:
        pending: dict[str, Any] = {"status": Status.PENDING}
        insert_runs(
            persistence,
            a_run("new", created_at=at(2), **pending),
            a_run("old", created_at=at(1), **pending),
            a_run("urgent", created_at=at(3), priority=9, **pending),
            a_run("running"),
        )
        assert ids(persistence.read(lambda tx: tx.runs.pending(9))) == ["urgent", "old", "new"]
        assert ids(persistence.read(lambda tx: tx.runs.pending(1))) == ["urgent"]

    def test_quiet_runs_are_running_and_were_not_touched_since(self, persistence: Persistence) -> None:
        insert_runs(
            persistence,
            a_run("quiet", updated_at=at(1)),
            a_run("quieter", updated_at=at(0)),
            a_run("at the limit", updated_at=at(5)),
            a_run("done", updated_at=at(0), status=Status.COMPLETED),
        )
        assert ids(persistence.read(lambda tx: tx.runs.quiet(at(5), 9))) == ["quieter", "quiet"]
        assert ids(persistence.read(lambda tx: tx.runs.quiet(at(5), 1))) == ["quieter"]

    @pytest.mark.parametrize(
        ("where", "found"),
        [
            (RunFilter(), ["r4", "r3", "r2", "r1"]),
            (RunFilter(statuses=frozenset({Status.FAILED, Status.PENDING})), ["r3", "r2"]),
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
    def test_a_search_finds_what_meets_all_conditions_newest_first(
        self, persistence: Persistence, where: RunFilter, found: list[str]
    ) -> None:
        insert_runs(
            persistence,
            a_run("r1", created_at=at(1), tenant="acme"),
            a_run("r2", created_at=at(2), status=Status.FAILED),
            a_run("r3", created_at=at(3), tenant="acme", status=Status.PENDING),
            a_run("r4", created_at=at(4), workflow_id="other"),
        )
        assert ids(persistence.read(lambda tx: tx.runs.search(where, 9))) == found
        assert ids(persistence.read(lambda tx: tx.runs.search(where, 1))) == found[:1]

    def test_ended_runs_are_terminal_and_come_oldest_first(self, persistence: Persistence) -> None:
        insert_runs(
            persistence,
            a_run("later", status=Status.FAILED, completed_at=at(2)),
            a_run("first", status=Status.COMPLETED, completed_at=at(1)),
            a_run("too late", status=Status.CANCELLED, completed_at=at(9)),
            a_run("open"),
        )
        assert ids(persistence.read(lambda tx: tx.runs.ended(at(9), 9))) == ["first", "later"]

    def test_deleting_a_run_deletes_all_its_rows_and_no_others(self, persistence: Persistence) -> None:
        persistence.transact(lambda tx: _fill(tx, "r"))
        persistence.transact(lambda tx: _fill(tx, "keep"))
        kept = everything(persistence, "keep")
        persistence.transact(lambda tx: tx.runs.delete(["r", "unknown"]))
        assert all(rows == [] for rows in everything(persistence, "r").values())
        assert persistence.read(lambda tx: tx.outbox.delivered("r.1")) == frozenset()
        assert everything(persistence, "keep") == kept
        assert persistence.read(lambda tx: tx.outbox.delivered("keep.1")) == {"plugin"}


def _fill(tx: Tx, run_id: str) -> None:
    tx.runs.insert(a_run(run_id))
    tx.stages.insert_missing([a_stage(run_id=run_id)])
    tx.jobs.insert([a_job(run_id=run_id)])
    tx.logs.append([a_log(f"{run_id} log", run_id)])
    tx.artifacts.add([an_artifact("file", run_id=run_id)])
    tx.annotations.add([an_annotation(f"{run_id} note", run_id=run_id, created_at=AT)])
    tx.outbox.append(run_id, 1, [an_event(run_id)], None)
    tx.outbox.mark_delivered(f"{run_id}.1", ["plugin"])
