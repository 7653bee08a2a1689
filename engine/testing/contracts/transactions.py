from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from engine.domain.errors import InvalidInput, NotFound, StoreError
from engine.domain.events import WorkflowCancelled
from engine.domain.lifecycle import RunStatus, StageStatus
from engine.ports.changes import Changes, RunUpdate
from engine.ports.persistence import Persistence
from engine.ports.transaction import Tx
from engine.testing.clock import FakeClock
from engine.testing.contracts.changes import append_events, changes, insert, set_job, set_run, set_stage
from engine.testing.contracts.reading import everything, job_of, run_of, stage_of
from engine.testing.contracts.rows import (
    AT,
    a_job,
    a_key,
    a_log,
    a_run,
    a_stage,
    an_annotation,
    an_artifact,
    at,
)
from engine.testing.contracts.store import StoreContract

NOT_JSON = [float("nan"), float("inf"), {1, 2}, datetime(2026, 1, 1, tzinfo=UTC), {1: "a"}, b"x"]
NOT_TEXT = ["a\x00b", "half \ud800"]


class TransactionContract(StoreContract):
    def test_a_transaction_commits_and_gives_what_its_work_returns(self, persistence: Persistence) -> None:
        def work(tx: Tx) -> str:
            assert tx.keys.insert(a_key())
            return "done"

        assert persistence.transact(work) == "done"
        assert persistence.read(lambda tx: tx.keys.find("", "run.create", "k")) == a_key()

    def test_a_transaction_that_raises_leaves_no_trace_in_any_family(self, store: Persistence) -> None:
        _fill(store)
        before = everything(store, "r")

        def work(tx: Tx) -> None:
            tx.keys.insert(a_key())
            tx.stages.claim_poll("r.a", token="t", now=AT, until=at(9))
            tx.outbox.claim("r", token="t", seconds=9, limit=9)
            tx.outbox.mark_delivered("r.1", ["plugin"])
            tx.runs.delete(["r"])
            raise KeyError("no")

        with pytest.raises(KeyError):
            store.transact(work)
        assert everything(store, "r") == before
        assert store.read(lambda tx: tx.keys.find("", "run.create", "k")) is None
        assert store.read(lambda tx: tx.outbox.delivered("r.1")) == frozenset()

    def test_a_reading_may_not_write(self, persistence: Persistence) -> None:
        with pytest.raises(StoreError):
            persistence.read(lambda tx: tx.keys.insert(a_key()))
        assert persistence.read(lambda tx: tx.keys.find("", "run.create", "k")) is None

    def test_the_store_goes_by_its_clock(self, persistence: Persistence, clock: FakeClock) -> None:
        clock.advance(5)
        assert persistence.read(lambda tx: tx.now()) == clock.now()

    def test_a_row_does_not_change_with_the_document_it_was_made_of(self, persistence: Persistence) -> None:
        config: dict[str, Any] = {"list": [1]}
        insert(persistence, a_run(config=config))
        config["list"].append(2)
        assert run_of(persistence).config == {"list": [1]}
        config_read: Any = run_of(persistence).config
        config_read["list"].append(3)
        assert run_of(persistence).config == {"list": [1]}

    def test_documents_come_back_as_json_types(self, persistence: Persistence) -> None:
        config = {"tuple": (1, 2.5), "text": "ü \u2028 😀", "none": None, "deep": {"": [True, {}]}}
        insert(persistence, a_run(config=config))
        assert run_of(persistence).config == {**config, "tuple": [1, 2.5]}

    @pytest.mark.parametrize("value", [*NOT_JSON, *NOT_TEXT, {"deep": ["a\x00"]}, {"key\x00": 1}], ids=repr)
    def test_a_value_that_is_not_json_is_refused(self, persistence: Persistence, value: object) -> None:
        with pytest.raises(InvalidInput):
            insert(persistence, a_run(config={"x": value}))
        assert persistence.read(lambda tx: tx.runs.find("r")) is None

    @pytest.mark.parametrize("value", [*NOT_JSON, *NOT_TEXT], ids=repr)
    def test_an_update_with_a_value_that_is_not_json_is_refused(self, store: Persistence, value: object) -> None:
        insert(store, a_stage())
        with pytest.raises(InvalidInput):
            set_stage(store, metrics={"x": value})
        assert stage_of(store) == a_stage()

    @pytest.mark.parametrize("value", NOT_TEXT, ids=ascii)
    def test_text_that_no_database_holds_is_refused_in_every_kind_of_row(self, store: Persistence, value: str) -> None:
        insert(store, a_job())
        for row in (
            a_stage(stage_name=value),
            a_job("b", pool=value),
            a_log("1", message=value),
            an_artifact(value),
            an_annotation("n", value),
            a_key(value),
        ):
            with pytest.raises(InvalidInput):
                insert(store, row)
        with pytest.raises(InvalidInput):
            set_run(store, failure_message=value)
        with pytest.raises(InvalidInput):
            set_job(store, last_error=value)
        with pytest.raises(InvalidInput):
            store.write(_cancelled(reason=value))
        assert (run_of(store), job_of(store)) == (a_run(), a_job())

    def test_times_come_back_in_utc_to_the_microsecond(self, persistence: Persistence) -> None:
        there = timezone(timedelta(hours=5, minutes=30))
        local = datetime(2026, 3, 1, 2, 3, 4, 567_891, tzinfo=there)
        insert(persistence, a_run(started_at=local))
        started = run_of(persistence).started_at
        assert started == local
        assert started is not None
        assert started.utcoffset() == timedelta(0)

    def test_a_time_without_a_zone_is_refused(self, store: Persistence) -> None:
        naive = AT.replace(tzinfo=None)
        with pytest.raises(InvalidInput):
            insert(store, a_run("other", started_at=naive))
        with pytest.raises(InvalidInput):
            set_run(store, started_at=naive)
        assert run_of(store) == a_run()

    def test_unknown_ids_are_not_found(self, persistence: Persistence) -> None:
        for use in (
            lambda tx: tx.runs.get("x"),
            lambda tx: tx.stages.get("x"),
            lambda tx: tx.jobs.get("x"),
        ):
            with pytest.raises(NotFound):
                persistence.read(use)
        found = persistence.read(lambda tx: (tx.runs.find("x"), tx.stages.find("x"), tx.jobs.find("x")))
        assert found == (None, None, None)


def _cancelled(reason: str) -> Changes:
    event = WorkflowCancelled(timestamp=AT, workflow_run_id="r", workflow_id="w", reason=reason)
    return changes(run=RunUpdate(ids=("r",), set={"status": RunStatus.CANCELLED}), events=(event,))


def _fill(store: Persistence) -> None:
    """A row of each kind for run "r"."""
    insert(store, a_stage(status=StageStatus.SUSPENDED), a_job(), a_log("1"), an_artifact("file"))
    insert(store, an_annotation("n", stage_record_id="r.a"), an_annotation("m"))
    append_events(store)
