from typing import Any

import pytest

from engine.domain.errors import StaleVersionError
from engine.domain.lifecycle import Status
from engine.domain.stored_value import inline
from engine.ports.persistence import Persistence
from engine.ports.transaction import AnnotationFilter
from engine.testing.clock import FakeClock
from engine.testing.contracts.reading import stage_of
from engine.testing.contracts.rows import a_stage, an_annotation, at
from engine.testing.contracts.store import StoreContract

SUSPENDED: dict[str, Any] = {"status": Status.SUSPENDED}


def insert(store: Persistence, *stage_ids: str, **columns: Any) -> None:
    stages = [a_stage(stage_id, **columns) for stage_id in stage_ids]
    store.transact(lambda tx: tx.stages.insert_missing(stages))


class StagesContract(StoreContract):
    def test_every_column_of_a_stage_comes_back(self, store: Persistence) -> None:
        columns: dict[str, Any] = {
            "generation": 2,
            "version": 5,
            "config": {"a": 1},
            "started_at": at(1),
            "completed_at": at(2),
            "duration_ms": 1000,
            "input_data": inline([1]),
            "output_data": {"blob": "a/b", "size": 9},
            "suspended_state": {"s": 1},
            "next_poll_at": at(3),
            "poll_interval_s": 2.5,
            "max_wait_until": at(9),
            "poll_token": "p",
            "poll_until": at(4),
            "metrics": {"m": 1.5},
            "embedding_info": {"e": []},
            "progress": {"progress": 0.5},
            "total_cost": 0.25,
            "total_tokens": 7,
            "error_code": "C",
            "error_message": "M",
        }
        insert(store, "a", **columns)
        assert stage_of(store) == a_stage(**columns)

    def test_stages_come_in_order_of_group_and_number(self, store: Persistence) -> None:
        for stage_id, group, number in [("late", 2, 3), ("b", 1, 2), ("a", 1, 1), ("mid", 2, 1)]:
            insert(store, stage_id, execution_group=group, stage_number=number)
        found = store.read(lambda tx: tx.stages.of_run("r"))
        assert [stage.stage_id for stage in found] == ["a", "b", "mid", "late"]

    def test_a_stage_that_is_there_is_never_touched(self, store: Persistence) -> None:
        insert(store, "a", config={"first": True})
        again = [a_stage("a", id="another id", config={}), a_stage("b")]
        assert store.transact(lambda tx: tx.stages.insert_missing(again)) == {"r.b"}
        assert stage_of(store) == a_stage(config={"first": True})
        assert store.transact(lambda tx: tx.stages.insert_missing([])) == frozenset()

    def test_outputs_are_those_of_completed_stages(self, store: Persistence) -> None:
        done: dict[str, Any] = {"status": Status.COMPLETED}
        insert(store, "done", output_data=inline(None), **done)
        insert(store, "nothing", **done)
        insert(store, "open", output_data=inline(2), status=Status.RUNNING)
        assert store.read(lambda tx: tx.stages.outputs("r")) == {"done": inline(None)}

    def test_an_update_raises_the_version_and_keeps_the_rest(self, store: Persistence, clock: FakeClock) -> None:
        insert(store, "a", config={"a": 1})
        clock.advance(2)
        patch: dict[str, Any] = {"status": Status.RUNNING, "started_at": at(1)}
        updated = store.transact(lambda tx: tx.stages.update("r.a", patch, expected_version=1))
        assert updated == a_stage(config={"a": 1}, version=2, updated_at=at(2), **patch)
        with pytest.raises(StaleVersionError):
            store.transact(lambda tx: tx.stages.update("r.a", {"generation": 9}, expected_version=1))
        assert stage_of(store) == updated

    def test_a_deleted_stage_leaves_its_annotations_without_the_link(self, store: Persistence) -> None:
        insert(store, "a", "b")
        notes = [an_annotation("1", stage_record_id="r.a"), an_annotation("2", stage_record_id="r.b")]
        store.transact(lambda tx: tx.annotations.add(notes))
        store.transact(lambda tx: tx.stages.delete(["r.a", "unknown"]))
        found = store.read(lambda tx: tx.annotations.of_run("r", AnnotationFilter()))
        assert {note.id: note.stage_record_id for note in found} == {"1": None, "2": "r.b"}
        assert [stage.id for stage in store.read(lambda tx: tx.stages.of_run("r"))] == ["r.b"]

    def test_due_are_suspended_stages_that_nobody_polls_earliest_first(self, store: Persistence) -> None:
        insert(store, "now", next_poll_at=at(10), **SUSPENDED)
        insert(store, "earlier", next_poll_at=at(1), **SUSPENDED)
        insert(store, "later", next_poll_at=at(11), **SUSPENDED)
        insert(store, "polled", next_poll_at=at(1), poll_token="p", poll_until=at(11), **SUSPENDED)
        insert(store, "stopped", next_poll_at=at(2), poll_token="p", poll_until=at(10), **SUSPENDED)
        insert(store, "running", next_poll_at=at(1), status=Status.RUNNING)
        found = store.read(lambda tx: tx.stages.due(at(10), 9))
        assert [stage.stage_id for stage in found] == ["earlier", "stopped", "now"]
        assert len(store.read(lambda tx: tx.stages.due(at(10), 1))) == 1

    def test_only_one_poller_gets_a_stage_until_its_claim_runs_out(self, store: Persistence) -> None:
        insert(store, "a", next_poll_at=at(99), **SUSPENDED)

        def poll(token: str, now: float) -> object:
            return store.transact(lambda tx: tx.stages.claim_poll("r.a", token=token, now=at(now), until=at(now + 10)))

        taken = poll("one", 0)
        assert taken == stage_of(store)
        assert taken == a_stage(next_poll_at=at(99), poll_token="one", poll_until=at(10), version=2, **SUSPENDED)
        assert poll("two", 9) is None
        assert poll("two", 10) == stage_of(store)
        assert stage_of(store).poll_token == "two"

    def test_a_stage_that_is_not_suspended_is_not_polled(self, store: Persistence) -> None:
        insert(store, "a")

        def poll(record_id: str) -> object:
            return store.transact(lambda tx: tx.stages.claim_poll(record_id, token="t", now=at(0), until=at(9)))

        assert poll("r.a") is None
        assert poll("unknown") is None
