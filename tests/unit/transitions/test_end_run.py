"""A run is cancelled, or fails as a whole."""

from collections.abc import Callable
from typing import Any

import pytest

from engine.domain.lifecycle import JobStatus, RunStatus, StageStatus
from engine.domain.records import LogLevel, LogRecord
from engine.domain.values import inlined
from engine.ports.changes import Changes, Reason, Refused
from engine.testing.contracts.rows import at
from engine.transitions.end_run import cancel_run, fail_run
from engine.transitions.snapshots import RunSnapshot
from tests.unit.transitions.deciding import (
    LOST,
    RETRY,
    a_context,
    a_snapshot,
    after,
    completes,
    condition_of_run,
    decided,
    finish,
    job_in,
    last_event,
    stage_in,
    states,
    told,
    wide,
)

WORKFLOW = wide("done", "running", "suspended", "retried", "queued", "lost")


def cancel(snapshot: RunSnapshot) -> Changes | Refused:
    return cancel_run(snapshot, "no longer needed", a_context())


def fail(snapshot: RunSnapshot) -> Changes | Refused:
    return fail_run(snapshot, "CODE", "what happened", a_context())


ENDS: dict[str, Callable[[RunSnapshot], Changes | Refused]] = {"cancel": cancel, "fail": fail}
each_end = pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)


def in_all_states(**run: Any) -> RunSnapshot:
    return a_snapshot(
        WORKFLOW,
        run=run,
        done="COMPLETED",
        running="RUNNING",
        suspended="SUSPENDED",
        retried=RETRY,
        queued="PENDING",
        lost=LOST,
    )


@each_end
def test_everything_that_is_open_is_cancelled_at_once(end: Callable[[RunSnapshot], Changes | Refused]) -> None:
    now = after(in_all_states(), end(in_all_states()))
    assert states(now) == {
        "done": "COMPLETED COMPLETED",
        "running": "CANCELLED CANCELLED",
        "suspended": "CANCELLED CANCELLED",
        "retried": "FAILED CANCELLED",
        "queued": "CANCELLED CANCELLED",
        "lost": "CANCELLED none",
    }
    run, stage = now.run, stage_in(now, "suspended")
    assert (run.completed_at, run.duration_ms, run.group_open, run.version) == (at(10), 10_000, 0, 2)
    assert (stage.completed_at, stage.next_poll_at, stage.poll_token) == (at(10), None, None)


@each_end
def test_a_job_that_runs_keeps_its_lease_until_its_holder_finds_out(
    end: Callable[[RunSnapshot], Changes | Refused],
) -> None:
    now = after(in_all_states(), end(in_all_states()))
    job = job_in(now, "running")
    assert (job.lease_token, job.lease_until) == ("running", at(60))
    assert finish(now, WORKFLOW, "running", completes("running")) == Refused(Reason.GHOST)


def test_a_cancelled_run_tells_why() -> None:
    changes = cancel(in_all_states())
    run = after(in_all_states(), changes).run
    assert (run.status, run.failure_code, run.output) == (RunStatus.CANCELLED, None, None)
    assert (told(changes), last_event(changes)["reason"]) == (["workflow:cancelled"], "no longer needed")
    assert decided(changes).inserted(LogRecord) == ()


def test_a_failed_run_tells_its_cause_in_its_columns_its_output_a_log_and_an_event() -> None:
    changes = fail(in_all_states())
    run = after(in_all_states(), changes).run
    assert (run.status, run.failure_code, run.failure_message) == (RunStatus.FAILED, "CODE", "what happened")
    assert run.output is not None
    assert inlined(run.output) == {"error": {"code": "CODE", "message": "what happened"}}
    assert told(changes) == ["workflow:failed"]
    assert (last_event(changes)["error_code"], last_event(changes)["error"]) == ("CODE", "what happened")
    (log,) = decided(changes).inserted(LogRecord)
    assert (log.level, log.message, log.stage_id) == (LogLevel.ERROR, "CODE: what happened", None)


@each_end
def test_a_run_that_never_started_has_no_duration(end: Callable[[RunSnapshot], Changes | Refused]) -> None:
    pending = a_snapshot(WORKFLOW, run={"status": RunStatus.PENDING, "started_at": None})
    run = after(pending, end(pending)).run
    assert (run.completed_at, run.duration_ms) == (at(10), None)


@each_end
@pytest.mark.parametrize("status", [RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED])
def test_a_run_that_has_ended_is_left_alone(end: Callable[[RunSnapshot], Changes | Refused], status: RunStatus) -> None:
    assert end(in_all_states(status=status)) == Refused(Reason.GHOST)


@each_end
def test_a_run_ends_only_as_it_was_read(end: Callable[[RunSnapshot], Changes | Refused]) -> None:
    assert condition_of_run(end(in_all_states(version=4))) == {"status": RunStatus.RUNNING, "version": 4}


@each_end
def test_a_run_without_stages_ends_too(end: Callable[[RunSnapshot], Changes | Refused]) -> None:
    empty = a_snapshot(WORKFLOW)
    assert after(empty, end(empty)).run.status in {RunStatus.CANCELLED, RunStatus.FAILED}


def test_a_failing_run_can_be_cancelled() -> None:
    before = a_snapshot(WORKFLOW, run={"failure_code": "X"}, done="FAILED", running="RUNNING")
    now = after(before, cancel(before))
    assert (now.run.status, job_in(now, "running").status) == (RunStatus.CANCELLED, JobStatus.CANCELLED)
    assert stage_in(now, "running").status is StageStatus.CANCELLED
