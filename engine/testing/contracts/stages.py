from typing import Any

from engine.domain.lifecycle import StageStatus
from engine.domain.values import inline
from engine.ports.persistence import Persistence
from engine.testing.contracts.changes import insert
from engine.testing.contracts.reading import stage_of
from engine.testing.contracts.rows import a_stage, at
from engine.testing.contracts.store import StoreContract

SUSPENDED: dict[str, Any] = {"status": StageStatus.SUSPENDED}
COMPLETED: dict[str, Any] = {"status": StageStatus.COMPLETED}


class StagesContract(StoreContract):
    def test_stages_come_in_order_of_group_and_number(self, store: Persistence) -> None:
        for stage_id, group, number in [("late", 2, 3), ("b", 1, 2), ("a", 1, 1), ("mid", 2, 1)]:
            insert(store, a_stage(stage_id, execution_group=group, stage_number=number))
        found = store.read(lambda tx: tx.stages.of_run("r"))
        assert [stage.stage_id for stage in found] == ["a", "b", "mid", "late"]
        assert store.read(lambda tx: tx.stages.of_run("s")) == []

    def test_outputs_are_those_of_completed_stages_of_the_groups_asked_for(self, store: Persistence) -> None:
        insert(
            store,
            a_stage("last", execution_group=3, output_data=inline("last"), **COMPLETED),
            a_stage("b", execution_group=2, stage_number=3, output_data=inline(None), **COMPLETED),
            a_stage("a", execution_group=2, stage_number=2, output_data={"blob": "k", "size": 1}, **COMPLETED),
            a_stage("nothing", execution_group=2, **COMPLETED),
            a_stage("open", execution_group=2, output_data=inline(2), status=StageStatus.RUNNING),
            a_stage("first", output_data=inline("first"), **COMPLETED),
        )
        second = {"a": {"blob": "k", "size": 1}, "b": inline(None)}
        found = store.read(lambda tx: tx.stages.outputs("r", range(2, 3)))
        assert (found, list(found)) == (second, ["a", "b"])
        upto = store.read(lambda tx: tx.stages.outputs("r", range(1, 3)))
        assert (upto, list(upto)) == ({"first": inline("first"), **second}, ["first", "a", "b"])
        assert store.read(lambda tx: tx.stages.outputs("r", range(0))) == {}
        assert store.read(lambda tx: tx.stages.outputs("s", range(1, 3))) == {}

    def test_due_are_suspended_stages_that_nobody_polls_earliest_first(self, store: Persistence) -> None:
        insert(
            store,
            a_stage("now", next_poll_at=at(10), **SUSPENDED),
            a_stage("earlier", next_poll_at=at(1), **SUSPENDED),
            a_stage("later", next_poll_at=at(11), **SUSPENDED),
            a_stage("polled", next_poll_at=at(1), poll_token="p", poll_until=at(11), **SUSPENDED),
            a_stage("stopped", next_poll_at=at(2), poll_token="p", poll_until=at(10), **SUSPENDED),
            a_stage("running", next_poll_at=at(1), status=StageStatus.RUNNING),
        )
        found = store.read(lambda tx: tx.stages.due(at(10), 9))
        assert [stage.stage_id for stage in found] == ["earlier", "stopped", "now"]
        assert len(store.read(lambda tx: tx.stages.due(at(10), 1))) == 1

    def test_only_one_poller_gets_a_stage_until_its_claim_runs_out(self, store: Persistence) -> None:
        insert(store, a_stage(next_poll_at=at(99), **SUSPENDED))

        def poll(token: str, now: float) -> object:
            return store.transact(lambda tx: tx.stages.claim_poll("r.a", token=token, now=at(now), until=at(now + 10)))

        taken = poll("one", 3)
        assert taken == stage_of(store)
        expected = a_stage(next_poll_at=at(99), poll_token="one", poll_until=at(13), updated_at=at(3), **SUSPENDED)
        assert taken == expected
        assert poll("two", 12) is None
        assert poll("two", 13) == stage_of(store)
        assert stage_of(store).poll_token == "two"

    def test_a_stage_that_is_not_suspended_is_not_polled(self, store: Persistence) -> None:
        insert(store, a_stage())

        def poll(record_id: str) -> object:
            return store.transact(lambda tx: tx.stages.claim_poll(record_id, token="t", now=at(0), until=at(9)))

        assert poll("r.a") is None
        assert poll("unknown") is None
        assert stage_of(store) == a_stage()
