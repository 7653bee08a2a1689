"""The end of a stage and its run: who is the last of a group, what opens after it, and how a run ends."""

import pytest

from engine.domain.ai_calls import Spent
from engine.domain.lifecycle import RunStatus, StageStatus
from engine.domain.values import inline
from engine.ports.changes import AtLeast
from engine.testing.contracts.rows import a_lease, a_run, a_stage, at
from engine.transitions.close_stage import Following, advance, output_of_group
from engine.transitions.finish_stage import StageFinish, needs_whole_run
from tests.unit.transitions.deciding import (
    NOW,
    RETRY,
    a_context,
    a_snapshot,
    after,
    completes,
    condition_of_run,
    fails,
    finish,
    job_in,
    last_event,
    of_stage,
    stage_in,
    states,
    straight,
    suspends,
    told,
    wide,
)

TWO = wide("a", "b", then="last")


def test_a_stage_that_is_not_the_last_of_its_group_takes_one_off() -> None:
    before = a_snapshot(TWO, a="RUNNING", b="RUNNING")
    changes = finish(before, TWO, "a", completes("a"))
    now = after(before, changes)
    assert (now.run.status, now.run.group_no, now.run.group_open) == (RunStatus.RUNNING, 1, 1)
    assert (now.run.version, now.run.output) == (1, None)
    assert states(now) == {"a": "COMPLETED COMPLETED", "b": "RUNNING RUNNING"}
    assert told(changes) == ["stage:completed"]


def test_a_stage_that_is_not_the_last_needs_to_know_nothing_of_its_siblings() -> None:
    before = a_snapshot(TWO, a="RUNNING", b="RUNNING")
    fact = StageFinish(outcome=completes("a"), token="a", workflow=TWO)
    assert not needs_whole_run(of_stage(before, "a", whole=False), fact)
    expect = condition_of_run(finish(before, TWO, "a", completes("a")))
    assert expect == {"status": RunStatus.RUNNING, "failure_code": None, "group_no": 1, "group_open": AtLeast(2)}


def test_the_last_stage_of_a_group_opens_the_next() -> None:
    before = a_snapshot(TWO, a="COMPLETED", b="RUNNING")
    changes = finish(before, TWO, "b", completes("b"))
    now = after(before, changes)
    assert (now.run.status, now.run.group_no, now.run.group_open) == (RunStatus.RUNNING, 2, 1)
    assert (now.run.version, now.run.output) == (2, None)
    assert states(now) == {"a": "COMPLETED COMPLETED", "b": "COMPLETED COMPLETED", "last": "PENDING PENDING"}
    assert condition_of_run(changes)["group_open"] == 1
    assert told(changes) == ["stage:completed"]


def test_the_last_stage_must_still_be_the_last_of_the_same_group() -> None:
    for workflow in (TWO, wide("a", "b")):
        before = a_snapshot(workflow, a="COMPLETED", b="RUNNING")
        expect = condition_of_run(finish(before, workflow, "b", completes("b")))
        assert (expect["status"], expect["failure_code"]) == (RunStatus.RUNNING, None)
        assert (expect["group_no"], expect["group_open"]) == (1, 1)


def test_the_last_stage_can_claim_the_next_along() -> None:
    workflow = straight("a", "next")
    before = a_snapshot(workflow, a="RUNNING")
    changes = finish(before, workflow, "a", completes("a"), lease=a_lease("n", 60))
    now = after(before, changes)
    assert states(now)["next"] == "RUNNING RUNNING"
    job = job_in(now, "next")
    assert (job.attempt, job.lease_token, job.worker_id) == (1, "n", "worker of n")
    assert job.lease_until is not None
    assert (job.lease_until - NOW).total_seconds() == 60
    assert stage_in(now, "next").started_at == at(10)
    assert told(changes) == ["stage:completed", "stage:started"]
    assert after(now, finish(now, workflow, "next", completes("next"), token="n")).run.status is RunStatus.COMPLETED


def test_the_next_group_is_of_the_generation_of_the_last_and_keeps_the_costs_of_its_earlier_ones() -> None:
    workflow = straight("a", "next")
    last = a_stage("a", generation=2)
    context = a_context(spent={"next": Spent(0.5, 3)})
    effect = advance(
        a_run(), last, Following(workflow=workflow, output=inline(1)), context, whole=None, expect={"group_no": 1}
    )
    stages = [row for write in effect.writes for row in getattr(write, "rows", ()) if hasattr(row, "generation")]
    assert [(record.stage_id, record.generation, record.total_cost) for record in stages] == [("next", 2, 0.5)]
    assert effect.run.expect == {"group_no": 1}


def test_a_run_completes_with_its_totals_and_the_output_of_its_last_stage() -> None:
    workflow = straight("a")
    before = a_snapshot(workflow, run={"total_cost": 1.5, "total_tokens": 10}, a="RUNNING")
    changes = finish(before, workflow, "a", completes("a"))
    run = after(before, changes).run
    assert (run.status, run.group_open, run.output) == (RunStatus.COMPLETED, 0, inline("out of a"))
    assert (run.completed_at, run.duration_ms, run.version) == (at(10), 10_000, 2)
    assert told(changes) == ["stage:completed", "workflow:completed"]
    event = last_event(changes)
    assert (event["duration_ms"], event["output"]) == (10_000, inline("out of a"))
    assert (event["total_cost"], event["total_tokens"]) == (1.5, 10)


def test_a_run_completes_only_with_the_totals_it_was_read_with() -> None:
    workflow = straight("a")
    before = a_snapshot(workflow, run={"total_cost": 1.5, "total_tokens": 10}, a="RUNNING")
    expect = condition_of_run(finish(before, workflow, "a", completes("a")))
    assert (expect["total_cost"], expect["total_tokens"]) == (1.5, 10)


def test_a_wide_group_gives_the_outputs_of_all_its_stages_in_order() -> None:
    workflow = wide("b", "a")
    before = a_snapshot(workflow, b="RUNNING", a="COMPLETED")
    run = after(before, finish(before, workflow, "b", completes("b"))).run
    outputs = {"b": inline("out of b"), "a": inline("out of a")}
    assert run.output == {"stages": outputs}
    assert list(run.output["stages"]) == ["b", "a"]


def test_a_group_without_outputs_of_some_stages_leaves_them_out() -> None:
    group = [a_stage("a"), a_stage("b", output_data=inline(1))]
    assert output_of_group(group, group[0], inline(0), is_wide=True) == {"stages": {"a": inline(0), "b": inline(1)}}
    assert output_of_group(group, group[1], inline(1), is_wide=True) == {"stages": {"b": inline(1)}}


def test_nothing_follows_in_a_workflow_that_is_not_known() -> None:
    before = a_snapshot(straight("a"), a="RUNNING")
    changes = finish(before, None, "a", completes("a"))
    now = after(before, changes)
    assert (now.run.status, now.run.group_no, now.run.group_open) == (RunStatus.RUNNING, 1, 0)
    assert (states(now), told(changes)) == ({"a": "COMPLETED COMPLETED"}, ["stage:completed"])


def test_a_lone_failure_ends_its_run() -> None:
    workflow = straight("a", "next")
    before = a_snapshot(workflow, a="RUNNING")
    changes = finish(before, workflow, "a", fails("a"))
    run = after(before, changes).run
    assert (run.status, run.group_open) == (RunStatus.FAILED, 0)
    assert (run.failure_code, run.failure_message) == ("BROKEN", "a broke")
    assert (run.completed_at, run.duration_ms, run.output) == (at(10), 10_000, None)
    assert told(changes) == ["stage:failed", "workflow:failed"]
    assert (last_event(changes)["error"], last_event(changes)["error_code"]) == ("a broke", "BROKEN")


def test_a_failure_cancels_what_waits_and_waits_for_what_runs() -> None:
    workflow = wide("bad", "retried", "suspended", "queued", "running", "done", then="last")
    before = a_snapshot(
        workflow,
        bad="RUNNING",
        retried=RETRY,
        suspended="SUSPENDED",
        queued="PENDING",
        running="RUNNING",
        done="COMPLETED",
    )
    failing = finish(before, workflow, "bad", fails("bad"))
    now = after(before, failing)
    assert states(now) == {
        "bad": "FAILED FAILED",
        "retried": "FAILED CANCELLED",
        "suspended": "CANCELLED CANCELLED",
        "queued": "CANCELLED CANCELLED",
        "running": "RUNNING RUNNING",
        "done": "COMPLETED COMPLETED",
    }
    assert (now.run.status, now.run.group_open, now.run.version) == (RunStatus.RUNNING, 1, 2)
    assert (now.run.failure_code, now.run.failure_message) == ("BROKEN", "bad broke")
    assert told(failing) == ["stage:failed"]
    ended = finish(now, workflow, "running", completes("running"))
    end = after(now, ended)
    assert (end.run.status, end.run.group_open) == (RunStatus.FAILED, 0)
    assert states(end)["running"] == "COMPLETED COMPLETED"
    assert "last" not in states(end)
    assert told(ended) == ["stage:completed", "workflow:failed"]


def test_a_failing_run_waits_for_each_body_that_runs() -> None:
    workflow = wide("a", "b", "c")
    before = a_snapshot(workflow, a="RUNNING", b="RUNNING", c="RUNNING")
    failing = after(before, finish(before, workflow, "a", fails("a")))
    assert failing.run.group_open == 2
    one_left = after(failing, finish(failing, workflow, "b", completes("b")))
    assert (one_left.run.status, one_left.run.group_open) == (RunStatus.RUNNING, 1)
    assert after(one_left, finish(one_left, workflow, "c", completes("c"))).run.status is RunStatus.FAILED


def test_the_first_failure_is_that_of_the_run() -> None:
    workflow = wide("a", "b", "c")
    now = a_snapshot(workflow, a="RUNNING", b="RUNNING", c="RUNNING")
    for stage_id in "ab":
        now = after(now, finish(now, workflow, stage_id, fails(stage_id)))
        assert (now.run.status, now.run.failure_message) == (RunStatus.RUNNING, "a broke")
    ended = finish(now, workflow, "c", fails("c"))
    run = after(now, ended).run
    assert (run.status, run.failure_message) == (RunStatus.FAILED, "a broke")
    assert last_event(ended)["error"] == "a broke"
    assert told(ended) == ["stage:failed", "workflow:failed"]


@pytest.mark.parametrize("outcome", [fails("b", retry_in=5), suspends()], ids=["retry", "suspended"])
def test_a_failing_run_waits_for_no_other_attempt(outcome: object) -> None:
    workflow = wide("a", "b")
    before = a_snapshot(workflow, run={"failure_code": "BROKEN", "failure_message": "a broke"}, a="FAILED", b="RUNNING")
    ended = finish(before, workflow, "b", outcome)  # type: ignore[arg-type]  # one of two outcomes
    now = after(before, ended)
    assert (now.run.status, now.run.group_open, now.run.failure_message) == (RunStatus.FAILED, 0, "a broke")
    assert states(now)["b"] == "CANCELLED CANCELLED"
    assert stage_in(now, "b").completed_at == at(10)
    assert last_event(ended)["type"] == "workflow:failed"


def test_a_run_that_fails_takes_stray_jobs_and_stages_with_it() -> None:
    workflow = wide("a", "b")
    before = a_snapshot(workflow, run={"group_open": 1}, a="RUNNING", b="SUSPENDED")
    now = after(before, finish(before, workflow, "a", fails("a")))
    assert now.run.status is RunStatus.FAILED
    assert states(now)["b"] == "CANCELLED CANCELLED"
    assert stage_in(now, "b").poll_token is None


def test_a_run_that_was_read_whole_fails_whoever_else_has_finished_meanwhile() -> None:
    workflow = wide("a", "b")
    before = a_snapshot(workflow, a="RUNNING", b="COMPLETED")
    assert condition_of_run(finish(before, workflow, "a", fails("a"))) == {
        "status": RunStatus.RUNNING,
        "failure_code": None,
    }


def test_the_stages_of_an_ended_run_are_all_ended() -> None:
    for outcome in (completes("b"), fails("b")):
        workflow = wide("a", "b")
        before = a_snapshot(workflow, a="COMPLETED", b="RUNNING")
        now = after(before, finish(before, workflow, "b", outcome))
        assert now.run.group_open == 0
        assert {stage.status for stage in now.stages} <= {StageStatus.COMPLETED, StageStatus.FAILED}
