from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from engine.domain.errors import InvalidInput, NotFound, StoreError
from engine.domain.lifecycle import Status
from engine.ports.persistence import Persistence
from engine.ports.transaction import Tx
from engine.testing.clock import FakeClock
from engine.testing.contracts.reading import everything, run_of
from engine.testing.contracts.rows import AT, a_job, a_log, a_run, a_stage, an_annotation, an_artifact, an_event
from engine.testing.contracts.store import StoreContract

NOT_JSON = [float("nan"), float("inf"), {1, 2}, datetime(2026, 1, 1, tzinfo=UTC), {1: "a"}, b"x"]
NOT_TEXT = ["a\x00b", "half \ud800"]


class TransactionContract(StoreContract):
    def test_a_transaction_commits_and_gives_what_its_work_returns(self, persistence: Persistence) -> None:
        def work(tx: Tx) -> str:
            tx.runs.insert(a_run())
            return "done"

        assert persistence.transact(work) == "done"
        assert run_of(persistence) == a_run()

    def test_a_transaction_that_raises_leaves_no_trace_in_any_family(self, persistence: Persistence) -> None:
        persistence.transact(_fill)
        before = everything(persistence, "r")

        def work(tx: Tx) -> None:
            tx.runs.update("r", {"status": Status.FAILED})
            tx.jobs.update("r.a.job", {"attempt": 7})
            tx.outbox.claim("r", token="t", seconds=9, limit=9)
            tx.outbox.mark_delivered("r.1", ["plugin"])
            tx.stages.delete(["r.a"])
            tx.runs.insert(a_run("other"))
            tx.runs.delete(["r"])
            raise KeyError("no")

        with pytest.raises(KeyError):
            persistence.transact(work)
        assert everything(persistence, "r") == before
        assert persistence.read(lambda tx: tx.runs.find("other")) is None
        assert persistence.read(lambda tx: tx.outbox.delivered("r.1")) == frozenset()

    def test_a_reading_may_not_write(self, persistence: Persistence) -> None:
        with pytest.raises(StoreError):
            persistence.read(lambda tx: tx.runs.insert(a_run()))
        assert persistence.read(lambda tx: tx.runs.find("r")) is None

    def test_the_store_goes_by_its_clock(self, persistence: Persistence, clock: FakeClock) -> None:
        clock.advance(5)
        assert persistence.read(lambda tx: tx.now()) == clock.now()

    def test_what_a_row_holds_does_not_change_with_what_it_was_made_of(self, persistence: Persistence) -> None:
        config: dict[str, Any] = {"list": [1]}
        persistence.transact(lambda tx: tx.runs.insert(a_run(config=config)))
        config["list"].append(2)
        assert run_of(persistence).config == {"list": [1]}
        config_read: Any = run_of(persistence).config
        config_read["list"].append(3)
        assert run_of(persistence).config == {"list": [1]}

    def test_documents_come_back_as_json_types(self, persistence: Persistence) -> None:
        config = {"tuple": (1, 2.5), "text": "ü \u2028 😀", "none": None, "deep": {"": [True, {}]}}
        persistence.transact(lambda tx: tx.runs.insert(a_run(config=config)))
        assert run_of(persistence).config == {**config, "tuple": [1, 2.5]}

    @pytest.mark.parametrize("value", [*NOT_JSON, *NOT_TEXT, {"deep": ["a\x00"]}, {"key\x00": 1}], ids=repr)
    def test_what_is_not_json_is_refused(self, persistence: Persistence, value: object) -> None:
        with pytest.raises(InvalidInput):
            persistence.transact(lambda tx: tx.runs.insert(a_run(config={"x": value})))
        assert persistence.read(lambda tx: tx.runs.find("r")) is None

    @pytest.mark.parametrize("value", NOT_TEXT, ids=ascii)
    def test_what_no_database_takes_for_text_is_refused(self, persistence: Persistence, value: str) -> None:
        persistence.transact(lambda tx: tx.runs.insert(a_run()))
        with pytest.raises(InvalidInput):
            persistence.transact(lambda tx: tx.runs.update("r", {"failure_message": value}))
        assert run_of(persistence).failure_message is None

    def test_times_come_back_in_utc_to_the_microsecond(self, persistence: Persistence) -> None:
        there = timezone(timedelta(hours=5, minutes=30))
        local = datetime(2026, 3, 1, 2, 3, 4, 567_891, tzinfo=there)
        persistence.transact(lambda tx: tx.runs.insert(a_run(started_at=local)))
        started = run_of(persistence).started_at
        assert started == local
        assert started is not None
        assert started.utcoffset() == timedelta(0)

    def test_a_time_without_a_zone_is_refused(self, persistence: Persistence) -> None:
        naive = AT.replace(tzinfo=None)
        with pytest.raises(InvalidInput):
            persistence.transact(lambda tx: tx.runs.insert(a_run(started_at=naive)))

    def test_a_row_cannot_be_inserted_twice(self, persistence: Persistence) -> None:
        persistence.transact(_fill)
        for write in (
            lambda tx: tx.runs.insert(a_run()),
            lambda tx: tx.jobs.insert([a_job()]),
            lambda tx: tx.stages.insert_missing([a_stage("other", id="r.a")]),
            lambda tx: tx.artifacts.add([an_artifact("file")]),
            lambda tx: tx.annotations.add([an_annotation("n", "other key")]),
            lambda tx: tx.outbox.append("r", 1, [an_event()], None),
        ):
            with pytest.raises(StoreError):
                persistence.transact(write)

    def test_a_row_needs_the_run_it_belongs_to(self, persistence: Persistence) -> None:
        for write in (
            lambda tx: tx.stages.insert_missing([a_stage()]),
            lambda tx: tx.jobs.insert([a_job()]),
            lambda tx: tx.logs.append([a_log("1")]),
            lambda tx: tx.artifacts.add([an_artifact("file")]),
            lambda tx: tx.annotations.add([an_annotation("n")]),
            lambda tx: tx.outbox.append("r", 1, [an_event()], None),
        ):
            with pytest.raises(StoreError):
                persistence.transact(write)

    def test_unknown_ids_are_not_found(self, persistence: Persistence) -> None:
        for use in (
            lambda tx: tx.runs.get("x"),
            lambda tx: tx.runs.update("x", {"priority": 1}),
            lambda tx: tx.stages.get("x"),
            lambda tx: tx.stages.update("x", {"generation": 1}),
            lambda tx: tx.jobs.get("x"),
            lambda tx: tx.jobs.update("x", {"priority": 1}),
        ):
            with pytest.raises(NotFound):
                persistence.transact(use)
        assert persistence.transact(lambda tx: (tx.runs.find("x"), tx.runs.lock("x"), tx.jobs.find("x"))) == (
            None,
            None,
            None,
        )


def _fill(tx: Tx) -> None:
    tx.runs.insert(a_run())
    tx.stages.insert_missing([a_stage()])
    tx.jobs.insert([a_job()])
    tx.logs.append([a_log("1")])
    tx.artifacts.add([an_artifact("file")])
    tx.annotations.add([an_annotation("n", stage_record_id="r.a"), an_annotation("m")])
    tx.outbox.append("r", 1, [an_event(), an_event()], "cause")
