"""The effects of writes on rows."""

from typing import Any

import pytest

from engine.domain.errors import StoreError
from engine.domain.lifecycle import JobStatus, RunStatus, StageStatus
from engine.domain.records import StageRecord
from engine.domain.values import inline
from engine.ports.changes import Delete, FromNow, Insert, JobUpdate, Record, RunUpdate, StageUpdate, Written
from engine.ports.persistence import Persistence
from engine.ports.transaction import AnnotationFilter
from engine.testing.clock import FakeClock
from engine.testing.contracts.changes import begun, changes, insert, written
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
    held,
)
from engine.testing.contracts.store import StoreContract

FULL_RUN: dict[str, Any] = {
    "config": {"a": {"b": 1}},
    "tenant": "acme",
    "output": {"value": None},
    "priority": 9,
    "version": 3,
    "event_seq": 4,
    "last_event_at": at(0.25),
    "group_no": 2,
    "group_open": 1,
    "completed_at": at(1.5),
    "duration_ms": 1500,
    "total_cost": 0.125,
    "total_tokens": 42,
    "parent_run_id": "parent",
    "metadata": {"legacy": True},
    "failure_code": "CODE",
    "failure_message": "what happened",
}
FULL_STAGE: dict[str, Any] = {
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
FULL_JOB: dict[str, Any] = {
    "due_at": at(3),
    "rank": at(-7),
    "priority": 9,
    "attempt": 2,
    "max_attempts": 7,
    "last_error": "e",
    "trace_context": "00-1-2-03",
    **held(),
}


class WriteContract(StoreContract):
    def test_the_answer_holds_the_changes_and_the_time_of_the_store(self, store: Persistence, clock: FakeClock) -> None:
        clock.advance(5)
        wanted = changes(run=RunUpdate(ids=("r",)), seconds=9)
        assert store.write(wanted) == Written(changes=wanted, now=at(5), last_sequence=0)

    def test_a_run_is_created_with_its_group_and_its_events_at_once(self, persistence: Persistence) -> None:
        wanted = begun("a", "b", key=a_key(), annotations=(an_annotation("n"),))
        assert persistence.write(wanted) == Written(changes=wanted, now=AT, last_sequence=1)
        assert run_of(persistence) == a_run(event_seq=1, last_event_at=AT, group_no=1, group_open=2)
        assert stage_of(persistence, "b") == a_stage("b", stage_number=11)
        assert job_of(persistence, "b") == a_job("b")
        assert len(everything(persistence, "r")["annotations"]) == 1
        assert persistence.read(lambda tx: tx.keys.find("", "run.create", "k")) == a_key()

    def test_every_column_comes_back(self, persistence: Persistence) -> None:
        insert(persistence, a_run(**FULL_RUN), a_stage(**FULL_STAGE), a_job(**FULL_JOB))
        assert run_of(persistence) == a_run(**FULL_RUN)
        assert stage_of(persistence) == a_stage(**FULL_STAGE)
        assert job_of(persistence) == a_job(**FULL_JOB)

    @pytest.mark.parametrize("number", [0.1, -2.5e-7, 5e-324, 1e15, 1e16, 1e23, -1.7976931348623157e308, 10**30, True])
    def test_numbers_in_documents_keep_value_and_type(self, persistence: Persistence, number: Any) -> None:
        insert(persistence, a_run(metadata={"n": number}, total_cost=float(number)))
        run = run_of(persistence)
        (kept,) = (run.metadata or {}).values()
        assert (kept, run.total_cost) == (number, float(number))
        is_whole = isinstance(number, float) and abs(number) >= 1e16
        assert type(kept) is (int if is_whole else type(number))

    def test_an_update_touches_only_the_columns_it_names_and_the_time_of_the_update(
        self, persistence: Persistence
    ) -> None:
        insert(persistence, a_run(**FULL_RUN), a_stage(**FULL_STAGE), a_job(**FULL_JOB))
        written(
            persistence,
            StageUpdate(ids=("r.a",), set={"error_code": "D"}),
            JobUpdate(ids=("r.a.job",), set={"last_error": "f"}),
            run=RunUpdate(ids=("r",), set={"group_open": 0}),
            seconds=7,
        )
        assert run_of(persistence) == a_run(**{**FULL_RUN, "group_open": 0, "updated_at": at(7)})
        assert stage_of(persistence) == a_stage(**{**FULL_STAGE, "error_code": "D", "updated_at": at(7)})
        assert job_of(persistence) == a_job(**{**FULL_JOB, "last_error": "f", "updated_at": at(7)})

    def test_rows_that_are_not_named_stay_as_they_are(self, store: Persistence) -> None:
        insert(store, a_stage("a"), a_stage("b"), a_stage("c"))
        written(store, StageUpdate(ids=("r.a", "r.b"), set={"status": StageStatus.CANCELLED}), seconds=1)
        changed: dict[str, Any] = {"status": StageStatus.CANCELLED, "updated_at": at(1)}
        assert store.read(lambda tx: tx.stages.of_run("r")) == [
            a_stage("a", **changed),
            a_stage("b", **changed),
            a_stage("c"),
        ]

    def test_an_update_can_clear_columns(self, persistence: Persistence) -> None:
        insert(persistence, a_run(**FULL_RUN), a_stage(**FULL_STAGE))
        cleared: Any = {"output": None, "failure_code": None, "completed_at": None, "duration_ms": None}
        written(persistence, run=RunUpdate(ids=("r",), set=cleared))
        written(persistence, StageUpdate(ids=("r.a",), set={"output_data": None, "metrics": None, "poll_token": None}))
        assert run_of(persistence) == a_run(**{**FULL_RUN, **cleared})
        assert stage_of(persistence) == a_stage(
            **{**FULL_STAGE, "output_data": None, "metrics": None, "poll_token": None}
        )

    def test_the_time_of_an_update_is_the_writers(self, store: Persistence, clock: FakeClock) -> None:
        clock.advance(60)
        written(store, run=RunUpdate(ids=("r",)), seconds=3)
        assert run_of(store) == a_run(updated_at=at(3))

    def test_counters_are_raised_and_lowered(self, store: Persistence) -> None:
        insert(store, a_job(attempt=1))
        written(store, run=RunUpdate(ids=("r",), add={"version": 1, "group_open": 5}))
        written(
            store,
            JobUpdate(ids=("r.a.job",), add={"attempt": 1, "max_attempts": 1}),
            run=RunUpdate(ids=("r",), set={"group_no": 1}, add={"version": 1, "group_open": -2}),
        )
        run, job = run_of(store), job_of(store)
        assert (run.version, run.group_open, run.group_no) == (3, 3, 1)
        assert (job.attempt, job.max_attempts) == (2, 4)

    def test_a_time_that_is_the_latest_never_goes_back(self, store: Persistence) -> None:
        for seconds, latest in ((5, 5), (3, 5), (7, 7)):
            written(store, run=RunUpdate(ids=("r",), latest={"completed_at": at(seconds)}))
            assert run_of(store).completed_at == at(latest)

    def test_times_from_now_are_of_the_stores_clock(self, store: Persistence, clock: FakeClock) -> None:
        insert(store, a_job())
        clock.advance(100)
        times: Any = {"due_at": FromNow(5), "rank": FromNow(-295.5), "lease_until": FromNow()}
        written(store, JobUpdate(ids=("r.a.job",), set=times))
        assert job_of(store) == a_job(due_at=at(105), rank=at(-195.5), lease_until=at(100))

    def test_rows_are_inserted_with_times_of_the_stores_clock(self, store: Persistence, clock: FakeClock) -> None:
        clock.advance(100)
        jobs = (a_job("a"), a_job("b", priority=9))
        written(store, Insert(rows=jobs, from_now={"due_at": 2, "rank": -58.5}))
        assert store.read(lambda tx: tx.jobs.of_run("r")) == [
            a_job("a", due_at=at(102), rank=at(41.5)),
            a_job("b", priority=9, due_at=at(102), rank=at(41.5)),
        ]

    def test_rows_that_exist_can_be_skipped(self, store: Persistence) -> None:
        insert(store, a_stage("a", config={"first": True}), a_log("1"))
        again = (a_stage("a"), a_stage("a", id="another id"), a_stage("b"))
        logs = (a_log("1", message="again"), a_log("2"))
        written(store, Insert(rows=again, skip_existing=True), Insert(rows=logs, skip_existing=True))
        assert store.read(lambda tx: tx.stages.of_run("r")) == [a_stage("a", config={"first": True}), a_stage("b")]
        assert store.read(lambda tx: tx.logs.of_run("r")) == [a_log("1"), a_log("2")]

    def test_a_stage_of_that_name_may_be_in_another_run(self, store: Persistence) -> None:
        insert(store, a_stage("a"))
        insert(store, a_stage("a", "s"))
        assert stage_of(store, "a", "s") == a_stage("a", "s")

    def test_annotations_under_one_idempotency_key_are_written_once(self, store: Persistence) -> None:
        insert(store, an_annotation("1", idempotency_key="i"), an_annotation("2", "k2", idempotency_key="i"))
        more = (
            an_annotation("3", idempotency_key="i"),
            an_annotation("4", idempotency_key="j"),
            an_annotation("5", idempotency_key="j"),
            an_annotation("6"),
            an_annotation("7"),
            an_annotation("8", run_id="s", idempotency_key="i"),
        )
        written(store, Insert(rows=more, skip_existing=True))
        found = store.read(lambda tx: tx.annotations.of_run("r", AnnotationFilter()))
        assert [note.id for note in found] == ["1", "2", "4", "6", "7"]
        assert [note["id"] for note in everything(store, "s")["annotations"]] == ["8"]

    @pytest.mark.parametrize(
        "row",
        [a_stage(), a_job(), a_log("1"), an_artifact("file"), an_annotation("n")],
        ids=lambda row: type(row).__name__,
    )
    @pytest.mark.parametrize("skip_existing", [False, True])
    def test_a_row_needs_the_run_it_belongs_to(
        self, persistence: Persistence, row: Record, skip_existing: bool
    ) -> None:
        insert(persistence, a_run("s"))
        with pytest.raises(StoreError):
            persistence.write(
                changes(Insert(rows=(a_stage("b", "s"),)), Insert(rows=(row,), skip_existing=skip_existing), run_id="s")
            )
        assert everything(persistence, "s")["stages"] == []
        assert all(rows == [] for rows in everything(persistence, "r").values())

    def test_a_deleted_stage_leaves_its_annotations_without_the_link(self, store: Persistence) -> None:
        insert(store, a_stage("a"), a_stage("b"), a_stage("c"), a_job("a"), a_log("1", stage_record_id="r.a"))
        insert(store, an_annotation("1", stage_record_id="r.a"), an_annotation("2", stage_record_id="r.b"))
        written(store, Delete(record=StageRecord, ids=("r.a", "r.c")))
        found = store.read(lambda tx: tx.annotations.of_run("r", AnnotationFilter()))
        assert {note.id: note.stage_record_id for note in found} == {"1": None, "2": "r.b"}
        assert store.read(lambda tx: tx.stages.of_run("r")) == [a_stage("b")]
        assert job_of(store) == a_job("a")
        assert [log["stage_record_id"] for log in everything(store, "r")["logs"]] == ["r.a"]

    def test_a_deleted_stage_makes_room_for_its_successor_in_one_step(self, store: Persistence) -> None:
        insert(store, a_stage("a"), a_job("a"))
        new = a_stage("a", id="new", generation=1)
        written(
            store,
            Delete(record=StageRecord, ids=("r.a",)),
            JobUpdate(ids=("r.a.job",), set={"status": JobStatus.CANCELLED}),
            Insert(rows=(new,)),
            run=RunUpdate(ids=("r",), set={"status": RunStatus.RUNNING}),
        )
        assert store.read(lambda tx: tx.stages.of_run("r")) == [new]
        assert job_of(store).status is JobStatus.CANCELLED
