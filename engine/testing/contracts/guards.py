"""The conditions of updates and checks: each kind holds or refuses, and a refusal writes nothing."""

from typing import Any

import pytest

from engine.domain.lifecycle import JobStatus, RunStatus, StageStatus
from engine.domain.records import RunRecord, StageRecord
from engine.ports.changes import PASSED, AtLeast, Check, Delete, Insert, JobUpdate, RunUpdate, StageUpdate, Write
from engine.ports.persistence import Persistence
from engine.testing.clock import FakeClock
from engine.testing.contracts.changes import insert, refused, written
from engine.testing.contracts.reading import everything, job_of, run_of
from engine.testing.contracts.rows import (
    a_job,
    a_key,
    a_log,
    a_run,
    a_stage,
    an_annotation,
    an_artifact,
    an_event,
    held,
)
from engine.testing.contracts.store import StoreContract

HELD = Check(record=RunRecord, id="r", expect={"status": RunStatus.RUNNING})
NOT_HELD = Check(record=RunRecord, id="r", expect={"status": RunStatus.FAILED})
LATER = RunUpdate(ids=("r",), set={"group_no": 9})
REFUSING: dict[str, Write] = {
    "check": NOT_HELD,
    "check of an unknown row": Check(record=RunRecord, id="unknown", expect={}),
    "update of the run": RunUpdate(ids=("r",), set={"group_no": 1}, expect={"group_no": 7}),
    "update of an unknown row": StageUpdate(ids=("unknown",), set={"error_code": "E"}),
    "update of one of two rows": StageUpdate(ids=("r.a", "r.b"), expect={"error_code": None}),
    "update of the job": JobUpdate(ids=("r.a.job",), expect={"lease_token": "another"}),
    "insert of a run": Insert(rows=(a_run(),)),
    "insert of a stage of that id": Insert(rows=(a_stage("other", id="r.a"),)),
    "insert of a stage of that name": Insert(rows=(a_stage("a", id="other"),)),
    "insert of one row of two": Insert(rows=(a_stage("new"), a_stage("a"))),
    "insert of a row twice": Insert(rows=(a_log("new"), a_log("new"))),
    "insert of a job": Insert(rows=(a_job(),)),
    "insert of a log": Insert(rows=(a_log("1"),)),
    "insert of an artifact": Insert(rows=(an_artifact("file"),)),
    "insert of an annotation": Insert(rows=(an_annotation("n", "other key"),)),
    "insert of an annotation key": Insert(rows=(an_annotation("other", idempotency_key="once"),)),
    "insert of a key": Insert(rows=(a_key(request_hash="other"),)),
    "delete of an unknown row": Delete(record=StageRecord, ids=("unknown",)),
}


def fill(store: Persistence) -> None:
    """Rows that the writes of `REFUSING` meet."""
    insert(store, a_stage("a"), a_stage("b", error_code="BROKEN"), a_job(**held()), a_log("1"), an_artifact("file"))
    insert(store, an_annotation("n", idempotency_key="once"))
    insert(store, a_key())


class GuardContract(StoreContract):
    @pytest.mark.parametrize(
        ("columns", "holds"),
        [
            ({"status": RunStatus.RUNNING}, True),
            ({"status": RunStatus.PENDING}, False),
            ({"status": frozenset({RunStatus.PENDING, RunStatus.RUNNING})}, True),
            ({"status": frozenset({RunStatus.PENDING, RunStatus.FAILED})}, False),
            ({"tenant": "acme"}, True),
            ({"tenant": "Acme"}, False),
            ({"tenant": None}, False),
            ({"failure_code": None}, True),
            ({"failure_code": "X"}, False),
            ({"group_no": 2}, True),
            ({"group_no": 3}, False),
            ({"group_open": AtLeast(2)}, True),
            ({"group_open": AtLeast(3)}, False),
            ({"duration_ms": AtLeast(0)}, False),
            ({"total_cost": 0.1 + 0.2, "total_tokens": 7}, True),
            ({"total_cost": 0.3}, False),
            ({"status": RunStatus.RUNNING, "group_no": 3}, False),
            ({}, True),
        ],
        ids=repr,
    )
    def test_a_condition_holds_for_what_the_row_has(
        self, persistence: Persistence, columns: dict[str, Any], holds: bool
    ) -> None:
        insert(persistence, a_run(tenant="acme", group_no=2, group_open=2, total_cost=0.1 + 0.2, total_tokens=7))
        assert refused(persistence, Check(record=RunRecord, id="r", expect=columns)) is not holds
        assert refused(persistence, run=RunUpdate(ids=("r",), set={"failure_code": "F"}, expect=columns)) is not holds
        assert run_of(persistence).failure_code == ("F" if holds else None)

    @pytest.mark.parametrize(("now", "holds"), [(9.999, False), (10, True), (11, True)])
    def test_a_time_has_passed_from_that_moment_on(
        self, store: Persistence, clock: FakeClock, now: float, holds: bool
    ) -> None:
        insert(store, a_job(**held(until=10)))
        clock.advance(now)
        assert refused(store, JobUpdate(ids=("r.a.job",), expect={"lease_until": PASSED})) is not holds

    def test_a_time_that_is_not_set_has_not_passed(self, store: Persistence) -> None:
        insert(store, a_job())
        assert refused(store, JobUpdate(ids=("r.a.job",), expect={"lease_until": PASSED}))

    def test_the_conditions_hold_of_what_earlier_steps_have_left(self, store: Persistence) -> None:
        insert(store, a_stage())
        failed = StageUpdate(ids=("r.a",), set={"error_code": "E"}, expect={"error_code": None})
        assert refused(store, failed, failed)
        assert not refused(
            store, failed, StageUpdate(ids=("r.a",), set={"error_code": None}, expect={"error_code": "E"})
        )

    @pytest.mark.parametrize("write", REFUSING.values(), ids=REFUSING)
    def test_a_write_that_cannot_be_done_refuses_what_was_done_before_it(
        self, store: Persistence, write: Write
    ) -> None:
        fill(store)
        before = everything(store, "r"), everything(store, "s")
        assert refused(store, write, seconds=5)
        assert (everything(store, "r"), everything(store, "s")) == before
        done = (
            StageUpdate(ids=("r.a",), set={"status": StageStatus.RUNNING}, add={"version": 1}),
            JobUpdate(ids=("r.a.job",), set={"status": JobStatus.COMPLETED}),
            Insert(rows=(a_log("2"),)),
            Insert(rows=(a_key("second"),)),
            Insert(rows=(a_run("third"),)),
            Delete(record=StageRecord, ids=("r.b",)),
        )
        assert refused(store, *done, write, LATER, run=RunUpdate(ids=("r",)), events=(an_event(),), seconds=5)
        assert (everything(store, "r"), everything(store, "s")) == before
        assert store.read(lambda tx: tx.runs.find("third")) is None
        assert store.read(lambda tx: tx.keys.find("", "run.create", "second")) is None

    def test_a_run_whose_conditions_fail_is_not_created_with_its_stages(self, persistence: Persistence) -> None:
        insert(persistence, a_run("s"), a_key())
        create = Insert(rows=(a_run(),))
        assert refused(persistence, Insert(rows=(a_stage(),)), Insert(rows=(a_key(),)), run=create)
        assert persistence.read(lambda tx: (tx.runs.find("r"), tx.stages.find("r.a"))) == (None, None)

    def test_a_check_writes_nothing(self, store: Persistence) -> None:
        before = everything(store, "r")
        written(store, HELD, seconds=5)
        assert everything(store, "r") == before

    def test_a_row_that_is_checked_can_be_of_another_run(self, store: Persistence) -> None:
        insert(store, a_job())
        renamed = JobUpdate(ids=("r.a.job",), set={"worker_id": "w"})
        assert refused(store, Check(record=RunRecord, id="s", expect={"group_no": 1}), renamed)
        assert not refused(store, Check(record=RunRecord, id="s", expect={"group_no": 0}), renamed)
        assert job_of(store).worker_id == "w"
