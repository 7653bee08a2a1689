"""A run is found in any state, and what it needs is decided from its rows alone."""

from dataclasses import replace
from typing import Any

import pytest

from engine.domain.lifecycle import JobStatus, RunStatus
from engine.domain.records import LogLevel, LogRecord
from engine.domain.values import inline, inlined
from engine.ports.changes import Changes, Reason, Refused
from engine.testing.contracts.rows import at
from engine.transitions.advance_run import (
    Need,
    leased_until,
    need_of,
    next_due,
    recreate_missing_jobs,
    transition_run,
)
from engine.transitions.snapshots import RunSnapshot
from tests.unit.transitions.deciding import (
    LOST,
    NOW,
    RETRY,
    AnyWorkflow,
    a_context,
    a_snapshot,
    after,
    condition_of_run,
    decided,
    job_in,
    last_event,
    stage_in,
    states,
    straight,
    told,
    wide,
    with_job,
    with_stage,
)

TWO = wide("a", "b", then="last")
DONE = {"a": "COMPLETED", "b": "COMPLETED"}


def transition(snapshot: RunSnapshot, workflow: AnyWorkflow | None = TWO) -> Changes | Refused:
    return transition_run(snapshot, workflow, a_context())


@pytest.mark.parametrize(
    ("stages", "need"),
    [
        ({"a": "RUNNING", "b": "COMPLETED"}, Need.NOTHING),
        ({"a": "PENDING", "b": "COMPLETED"}, Need.NOTHING),
        ({"a": "SUSPENDED", "b": "COMPLETED"}, Need.NOTHING),
        ({"a": RETRY, "b": "COMPLETED"}, Need.NOTHING),
        ({"a": "FAILED", "b": "RUNNING"}, Need.NOTHING),
        ({"a": LOST, "b": "RUNNING"}, Need.JOBS),
        ({"a": LOST, "b": "FAILED"}, Need.JOBS),
        ({"a": "FAILED", "b": "COMPLETED"}, Need.FAIL),
        ({"a": "FAILED", "b": "CANCELLED"}, Need.FAIL),
        (DONE, Need.ADVANCE),
        ({"a": "COMPLETED", "b": "CANCELLED"}, Need.STUCK),
        ({"a": "COMPLETED"}, Need.STUCK),
        ({}, Need.STUCK),
        ({**DONE, "last": "COMPLETED"}, Need.ADVANCE),
    ],
    ids=str,
)
def test_the_need_of_a_run_is_read_off_its_current_group(stages: dict[str, str], need: Need) -> None:
    assert need_of(a_snapshot(TWO, **stages), TWO) is need


@pytest.mark.parametrize("status", sorted(set(RunStatus) - {RunStatus.RUNNING}))
def test_a_run_that_is_not_running_needs_nothing(status: RunStatus) -> None:
    for stages in (DONE, {"a": LOST, "b": "FAILED"}, {"a": "FAILED"}):
        assert need_of(a_snapshot(TWO, run={"status": status}, **stages), TWO) is Need.NOTHING


def test_a_stage_that_runs_without_a_job_is_stuck() -> None:
    orphan = replace(a_snapshot(TWO, a="RUNNING", b="COMPLETED"), jobs=[])
    assert need_of(orphan, TWO) is Need.STUCK


def test_a_finished_group_of_a_workflow_that_is_not_known_is_stuck() -> None:
    assert need_of(a_snapshot(TWO, **DONE), None) is Need.STUCK
    assert need_of(a_snapshot(TWO, run={"group_no": 2}, **DONE), straight("a")) is Need.STUCK


def test_a_finished_group_is_followed_by_the_next() -> None:
    before = a_snapshot(TWO, **DONE)
    changes = transition(before)
    now = after(before, changes)
    assert (now.run.status, now.run.group_no, now.run.group_open, now.run.version) == (RunStatus.RUNNING, 2, 1, 2)
    assert (states(now)["last"], job_in(now, "last").due_at) == ("PENDING PENDING", NOW)
    assert told(changes) == []
    assert condition_of_run(changes) == {"status": RunStatus.RUNNING, "version": 1}


def test_a_group_that_follows_keeps_the_records_it_finds() -> None:
    before = a_snapshot(TWO, run={"group_no": 1, "group_open": 0}, **DONE, last=LOST)
    now = after(before, transition(before))
    assert (stage_in(now, "last").id, states(now)["last"]) == ("r.last", "PENDING PENDING")
    assert (now.run.group_no, now.run.group_open) == (2, 1)


def test_a_rerun_advances_in_its_generation() -> None:
    before = with_stage(a_snapshot(TWO, **DONE), "b", generation=2)
    assert stage_in(after(before, transition(before)), "last").generation == 2


def test_the_last_group_completes_the_run() -> None:
    before = a_snapshot(TWO, run={"total_cost": 1.5, "total_tokens": 7}, **DONE, last="COMPLETED")
    changes = transition(before)
    run = after(before, changes).run
    assert (run.status, run.output, run.completed_at) == (RunStatus.COMPLETED, inline("out of last"), at(10))
    assert (told(changes), last_event(changes)["total_cost"]) == (["workflow:completed"], 1.5)


def test_the_last_group_gives_the_outputs_of_all_its_stages() -> None:
    workflow = wide("b", "a")
    before = a_snapshot(workflow, b="COMPLETED", a="COMPLETED")
    run = after(before, transition(before, workflow)).run
    assert run.output == {"stages": {"b": inline("out of b"), "a": inline("out of a")}}


def test_a_stage_that_failed_for_good_fails_the_run_with_its_error() -> None:
    before = a_snapshot(TWO, a="FAILED", b="COMPLETED")
    changes = transition(before)
    run = after(before, changes).run
    assert (run.status, run.failure_code, run.failure_message) == (RunStatus.FAILED, "BROKEN", "a broke")
    assert run.output is not None
    assert inlined(run.output)["error"]["code"] == "BROKEN"
    assert (told(changes), last_event(changes)["error"]) == (["workflow:failed"], "a broke")


def test_a_failing_run_whose_last_body_completed_fails_with_the_first_failure() -> None:
    before = a_snapshot(TWO, run={"failure_code": "X", "failure_message": "why"}, **DONE)
    changes = transition(before)
    run = after(before, changes).run
    assert (run.status, run.failure_code, run.failure_message) == (RunStatus.FAILED, "X", "why")


@pytest.mark.parametrize(
    "stages", [{"a": "RUNNING", "b": "COMPLETED"}, {"a": LOST, "b": "COMPLETED"}, {"a": "COMPLETED"}], ids=str
)
def test_a_run_that_has_no_step_to_take_is_left_alone(stages: dict[str, str]) -> None:
    assert transition(a_snapshot(TWO, **stages)) == Refused(Reason.NOTHING)


def test_of_two_who_advance_a_run_the_second_has_nothing_to_do() -> None:
    before = a_snapshot(TWO, **DONE)
    assert transition(after(before, transition(before))) == Refused(Reason.NOTHING)


class TestMissingJobs:
    def recreate(self, snapshot: RunSnapshot, workflow: AnyWorkflow | None = TWO) -> Changes | Refused:
        return recreate_missing_jobs(snapshot, workflow, a_context())

    def test_a_waiting_stage_without_a_job_gets_one_again(self) -> None:
        before = a_snapshot(TWO, run={"priority": 8}, a=LOST, b="RUNNING")
        changes = self.recreate(before)
        now = after(before, changes)
        job = job_in(now, "a")
        assert (job.status, job.stage_record_id, job.attempt, job.priority) == (JobStatus.PENDING, "r.a", 0, 8)
        assert (job.due_at, (job.due_at - job.rank).total_seconds()) == (NOW, 8 * 60)
        assert (now.run.version, now.run.group_open, told(changes)) == (1, 2, [])
        assert condition_of_run(changes) == {"status": RunStatus.RUNNING, "version": 1}
        (log,) = decided(changes).inserted(LogRecord)
        assert log.level is LogLevel.WARN

    def test_a_stage_whose_job_was_cancelled_gets_another(self) -> None:
        before = with_job(a_snapshot(TWO, a="PENDING", b="RUNNING"), "a", status=JobStatus.CANCELLED)
        assert states(after(before, self.recreate(before)))["a"] == "PENDING PENDING"

    def test_it_gets_one_once(self) -> None:
        before = a_snapshot(TWO, a=LOST, b="RUNNING")
        assert self.recreate(after(before, self.recreate(before))) == Refused(Reason.NOTHING)

    @pytest.mark.parametrize("state", ["PENDING", "RUNNING", "SUSPENDED", "COMPLETED", "FAILED", RETRY, "CANCELLED"])
    def test_no_other_stage_gets_one(self, state: str) -> None:
        assert self.recreate(a_snapshot(TWO, a=state, b="COMPLETED")) == Refused(Reason.NOTHING)

    def test_a_stage_of_another_group_gets_none(self) -> None:
        before = a_snapshot(TWO, run={"group_no": 1}, **DONE, last=LOST)
        assert self.recreate(before) == Refused(Reason.NOTHING)

    def test_a_run_that_is_not_running_gets_none(self) -> None:
        before = a_snapshot(TWO, run={"status": RunStatus.CANCELLED}, a=LOST)
        assert self.recreate(before) == Refused(Reason.NOTHING)

    def test_a_stage_that_the_workflow_does_not_know_gets_none(self) -> None:
        before = a_snapshot(TWO, a=LOST, b=LOST)
        assert self.recreate(before, None) == Refused(Reason.NOTHING)
        assert states(after(before, self.recreate(before, straight("b")))) == {
            "a": "PENDING none",
            "b": "PENDING PENDING",
        }


class TestWhenSomethingIsDue:
    def due(self, snapshot: RunSnapshot) -> Any:
        return next_due(snapshot, at(500))

    def test_nothing_waits_in_a_run_that_has_ended(self) -> None:
        ended = a_snapshot(TWO, run={"status": RunStatus.COMPLETED}, **DONE)
        assert (self.due(ended), leased_until(ended)) == (None, None)

    def test_a_pending_run_is_due_now(self) -> None:
        assert self.due(a_snapshot(TWO, run={"status": RunStatus.PENDING})) == at(500)

    def test_the_earliest_of_jobs_leases_and_polls_counts(self) -> None:
        workflow = wide("queued", "running", "suspended")
        snapshot = a_snapshot(workflow, queued="PENDING", running="RUNNING", suspended="SUSPENDED")
        times = {"queued": at(30), "running": at(20), "suspended": at(10)}
        snapshot = with_job(snapshot, "queued", due_at=times["queued"])
        snapshot = with_job(snapshot, "running", lease_until=times["running"])
        snapshot = with_stage(snapshot, "suspended", next_poll_at=times["suspended"])
        assert self.due(snapshot) == at(10)
        assert self.due(with_stage(snapshot, "suspended", next_poll_at=at(99))) == at(20)
        queued_first = with_job(with_stage(snapshot, "suspended", next_poll_at=None), "running", lease_until=at(99))
        assert self.due(queued_first) == at(30)

    def test_a_run_is_leased_until_the_last_lease_ends(self) -> None:
        snapshot = with_job(a_snapshot(TWO, a="RUNNING", b="RUNNING"), "b", lease_until=at(90))
        assert leased_until(snapshot) == at(90)
        assert leased_until(with_job(snapshot, "b", status=JobStatus.CANCELLED)) == at(60)
        assert leased_until(a_snapshot(TWO, a="PENDING")) is None
