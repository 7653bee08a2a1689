"""Logs, artifacts, annotations and idempotency keys."""

from typing import Any

import pytest

from engine.domain.records import KeyRecord, KeyState, StageRecord
from engine.ports.changes import Delete
from engine.ports.persistence import Persistence
from engine.ports.transaction import AnnotationFilter
from engine.testing.contracts.changes import insert, written
from engine.testing.contracts.rows import a_key, a_log, a_stage, an_annotation, an_artifact, at
from engine.testing.contracts.store import StoreContract


def insert_key(store: Persistence, record: KeyRecord) -> bool:
    return store.transact(lambda tx: tx.keys.insert(record))


class FactsContract(StoreContract):
    def test_logs_come_in_order_of_writing_from_where_one_left_off(self, store: Persistence) -> None:
        logs = [a_log("3"), a_log("1", stage_id="a", metadata={"x": [1]}), a_log("2", stage_id="b")]
        insert(store, *logs)

        def found(**where: Any) -> list[str]:
            return [log.id for log in store.read(lambda tx: tx.logs.of_run("r", **where))]

        assert store.read(lambda tx: tx.logs.of_run("r"))[0] == logs[1]
        assert found() == ["1", "2", "3"]
        assert found(after="1") == ["2", "3"]
        assert found(stage_id="a") == ["1"]
        assert found(after="1", limit=1) == ["2"]

    def test_artifacts_come_by_stage_and_name_while_their_stage_is_there(self, store: Persistence) -> None:
        insert(store, a_stage("a"), a_stage("b", stage_number=2), a_stage("gone"))
        made = [an_artifact("z"), an_artifact("a", "b"), an_artifact("b"), an_artifact("x", "gone")]
        insert(store, *made)
        written(store, Delete(record=StageRecord, ids=("r.gone",)))
        assert store.read(lambda tx: tx.artifacts.of_run("r")) == [made[2], made[0], made[1]]

    def test_every_column_of_an_annotation_comes_back(self, store: Persistence) -> None:
        note = an_annotation(
            "n", actor_kind="human", actor_id="ada", actor_version="1", payload=[None], idempotency_key="once"
        )
        nothing = an_annotation("m", value=None)
        insert(store, note, nothing)
        assert store.read(lambda tx: tx.annotations.of_run("r", AnnotationFilter())) == [note, nothing]

    @pytest.mark.parametrize(
        ("where", "found"),
        [
            (AnnotationFilter(), "1234"),
            (AnnotationFilter(key="a.b"), "1"),
            (AnnotationFilter(key_prefix="a."), "14"),
            (AnnotationFilter(key_prefix="a_"), "3"),
            (AnnotationFilter(key_prefix="a%"), ""),
            (AnnotationFilter(scope="stage", scope_id="s"), "24"),
            (AnnotationFilter(actor_id="ada", actor_kind="human"), "3"),
            (AnnotationFilter(generation=1), "4"),
            (AnnotationFilter(since=at(2), until=at(4)), "23"),
            (AnnotationFilter(limit=2), "12"),
            (AnnotationFilter(key_prefix="a", scope="run"), "13"),
        ],
    )
    def test_annotations_are_found_by_all_conditions_in_order(
        self, store: Persistence, where: AnnotationFilter, found: str
    ) -> None:
        notes = [
            an_annotation("4", "a.c", scope="stage", scope_id="s", generation=1, created_at=at(4)),
            an_annotation("1", "a.b", created_at=at(1)),
            an_annotation("2", "b", scope="stage", scope_id="s", created_at=at(2)),
            an_annotation("3", "a_c", actor_kind="human", actor_id="ada", created_at=at(2)),
        ]
        insert(store, *notes)
        rows = store.read(lambda tx: tx.annotations.of_run("r", where))
        assert "".join(note.id for note in rows) == found

    def test_a_key_is_inserted_once_in_its_scope(self, store: Persistence) -> None:
        scopes = [a_key(), a_key(tenant="t"), a_key(command_type="c"), a_key("other")]
        assert all(insert_key(store, record) for record in scopes)
        assert not insert_key(store, a_key(request_hash="other"))
        assert store.read(lambda tx: tx.keys.find("", "run.create", "k")) == a_key()
        assert store.read(lambda tx: tx.keys.find("", "run.create", "unknown")) is None

    def test_a_key_can_be_replaced_and_deleted(self, store: Persistence) -> None:
        store.transact(lambda tx: tx.keys.insert(a_key(state=KeyState.IN_PROGRESS, expires_at=at(9))))
        done = a_key(result={"run": "r"})
        store.transact(lambda tx: tx.keys.replace(done))
        assert store.read(lambda tx: tx.keys.find("", "run.create", "k")) == done
        store.transact(lambda tx: tx.keys.delete(done))
        store.transact(lambda tx: tx.keys.delete(done))
        assert store.transact(lambda tx: tx.keys.insert(a_key()))

    def test_old_keys_are_pruned_in_bounded_steps(self, store: Persistence) -> None:
        for number in range(3):
            insert_key(store, a_key(str(number), acquired_at=at(number)))
        assert store.transact(lambda tx: tx.keys.prune(at(2), 1)) == 1
        assert store.transact(lambda tx: tx.keys.prune(at(2), 9)) == 1
        assert store.read(lambda tx: tx.keys.find("", "run.create", "2")) is not None
