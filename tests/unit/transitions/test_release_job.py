"""A job comes back from its holder."""

from collections.abc import Mapping
from typing import Any

import pytest

from engine.domain.lifecycle import JobStatus, RunStatus, StageStatus
from engine.domain.records import LogLevel, LogRecord
from engine.ports.changes import PASSED, Changes, JobUpdate, Reason, Refused
from engine.testing.contracts.rows import at
from engine.transitions.release_job import MAX_UNCOUNTED_ATTEMPTS, JobRelease, ends_stage, release_job
from engine.transitions.snapshots import RunSnapshot
from tests.unit.transitions.deciding import (
    NOW,
    a_context,
    a_snapshot,
    after,
    completes,
    condition_of_run,
    decided,
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
    with_job,
    with_stage,
)

TWO = wide("a", "b")
LAST_ATTEMPT = {"attempt": 3, "max_attempts": 3}
FAILING: Mapping[str, Any] = {"failure_code": "X", "failure_message": "x"}


def a_release(**fields: Any) -> JobRelease:
    return JobRelease(**{"token": "a", "expired": False, **fields})


def release(snapshot: RunSnapshot, **fields: Any) -> Changes | Refused:
    fact = a_release(**fields)
    known = of_stage(snapshot, "a", whole=ends_stage(of_stage(snapshot, "a", whole=False), fact))
    return release_job(known, fact, a_context())


def running(run: Any = None, **job: Any) -> RunSnapshot:
    return with_job(a_snapshot(TWO, run=run, a="RUNNING", b="RUNNING"), "a", **job)


def logged(answer: Changes | Refused) -> LogRecord:
    (log,) = decided(answer).inserted(LogRecord)
    return log


def test_a_job_that_is_released_waits_for_its_next_attempt() -> None:
    changes = release(running())
    now = after(running(), changes)
    job, stage = job_in(now, "a"), stage_in(now, "a")
    assert states(now) == {"a": "PENDING PENDING", "b": "RUNNING RUNNING"}
    assert (job.worker_id, job.lease_token, job.lease_until) == (None, None, None)
    assert (job.attempt, job.max_attempts) == (1, 3)
    assert (job.due_at, (job.due_at - job.rank).total_seconds()) == (NOW, 5 * 60)
    assert (stage.version, stage.completed_at) == (2, None)
    assert (now.run.status, now.run.group_open, now.run.version) == (RunStatus.RUNNING, 2, 1)
    assert told(changes) == []
    log = logged(changes)
    assert (log.level, log.message) == (LogLevel.WARN, "attempt 1 was lost by worker worker of a")
    assert (log.stage_id, log.stage_record_id) == ("a", "r.a")


def test_a_release_can_put_off_the_next_attempt_and_say_why() -> None:
    changes = release(running(), due_in=30.0, why="out of memory")
    job = job_in(after(running(), changes), "a")
    assert (job.due_at - NOW).total_seconds() == 30
    assert (job.due_at - job.rank).total_seconds() == 5 * 60
    assert job.last_error == "out of memory"
    assert logged(changes).message == "attempt 1 was lost by worker worker of a: out of memory"


def test_the_finish_of_who_lost_the_lease_is_lost() -> None:
    now = after(running(), release(running()))
    for outcome in (completes("a"), suspends(), fails("a", retry_in=5), fails("a")):
        assert finish(now, TWO, "a", outcome) == Refused(Reason.LOST)


def test_an_expired_lease_is_released_only_if_it_has_run_out_on_the_stores_clock() -> None:
    for expired in (True, False):
        changes = decided(release(running(), expired=expired))
        (job,) = [write for write in changes.writes if isinstance(write, JobUpdate)]
        lease = {"lease_until": PASSED} if expired else {}
        assert job.expect == {"status": JobStatus.RUNNING, "lease_token": "a", **lease}


def test_a_release_is_written_only_in_a_run_that_is_not_failing() -> None:
    assert condition_of_run(release(running())) == {"status": RunStatus.RUNNING, "failure_code": None}


@pytest.mark.parametrize("attempt", [1, 3])
def test_an_uncounted_release_does_not_count_the_attempt(attempt: int) -> None:
    before = running(attempt=attempt, max_attempts=3)
    changes = release(before, uncounted=True)
    job = job_in(after(before, changes), "a")
    assert (job.status, job.attempt, job.max_attempts) == (JobStatus.PENDING, attempt, 4)
    assert "lost" not in logged(changes).message


def test_after_many_attempts_an_uncounted_release_counts() -> None:
    before = running(attempt=MAX_UNCOUNTED_ATTEMPTS, max_attempts=MAX_UNCOUNTED_ATTEMPTS)
    changes = release(before, uncounted=True, why="no memory")
    now = after(before, changes)
    assert job_in(now, "a").status is JobStatus.FAILED
    message = stage_in(now, "a").error_message or ""
    assert f"attempt {MAX_UNCOUNTED_ATTEMPTS} of {MAX_UNCOUNTED_ATTEMPTS}" in message
    assert "no memory" in message


def test_a_job_whose_attempts_are_spent_fails_with_its_stage() -> None:
    before = running(**LAST_ATTEMPT)
    changes = release(before)
    now = after(before, changes)
    job, stage = job_in(now, "a"), stage_in(now, "a")
    message = "LeaseExpired: worker worker of a stopped responding in attempt 3 of 3"
    assert (job.status, job.last_error, job.lease_token, job.lease_until) == (JobStatus.FAILED, message, None, None)
    assert (stage.status, stage.error_code, stage.error_message) == (StageStatus.FAILED, "LEASE_EXPIRED", message)
    assert stage.completed_at == at(10)
    assert (now.run.status, now.run.failure_code, now.run.group_open) == (RunStatus.RUNNING, "LEASE_EXPIRED", 1)
    assert told(changes) == ["stage:failed"]
    assert (last_event(changes)["error_code"], last_event(changes)["will_retry"]) == ("LEASE_EXPIRED", False)
    assert (logged(changes).level, logged(changes).message) == (LogLevel.ERROR, message)


def test_the_last_attempt_of_a_lone_stage_ends_the_run() -> None:
    workflow = straight("a", "next")
    before = with_job(a_snapshot(workflow, a="RUNNING"), "a", **LAST_ATTEMPT)
    changes = release(before)
    now = after(before, changes)
    assert (now.run.status, now.run.failure_code) == (RunStatus.FAILED, "LEASE_EXPIRED")
    assert told(changes) == ["stage:failed", "workflow:failed"]


def test_a_lease_lost_in_a_failing_run_ends_its_stage() -> None:
    before = running(FAILING)
    changes = release(before)
    now = after(before, changes)
    assert states(now)["a"] == "CANCELLED CANCELLED"
    assert stage_in(now, "a").completed_at == at(10)
    assert job_in(now, "a").lease_token is None
    assert (now.run.status, now.run.group_open) == (RunStatus.RUNNING, 1)
    assert told(changes) == []


def test_the_last_lease_lost_in_a_failing_run_ends_the_run() -> None:
    before = with_job(a_snapshot(TWO, run=FAILING, a="RUNNING", b="FAILED"), "a")
    changes = release(before)
    assert after(before, changes).run.status is RunStatus.FAILED
    assert (told(changes), last_event(changes)["error"]) == (["workflow:failed"], "x")


@pytest.mark.parametrize("run", [{}, FAILING], ids=["running", "failing"])
@pytest.mark.parametrize("job", [{}, LAST_ATTEMPT], ids=["attempts left", "attempts spent"])
def test_only_a_release_that_ends_the_stage_needs_the_whole_run(run: Mapping[str, Any], job: dict[str, Any]) -> None:
    known = of_stage(running(run, **job), "a", whole=False)
    assert ends_stage(known, a_release()) is bool(run or job)


@pytest.mark.parametrize("token", ["another", None])
def test_the_lease_of_another_is_left_alone(token: str | None) -> None:
    assert release(running(), token=token) == Refused(Reason.LOST)


@pytest.mark.parametrize("status", sorted(set(JobStatus) - {JobStatus.RUNNING}))
def test_only_a_running_job_is_released(status: JobStatus) -> None:
    assert release(running(status=status)) == Refused(Reason.LOST)


@pytest.mark.parametrize("status", sorted(set(RunStatus) - {RunStatus.RUNNING}))
def test_a_run_in_another_state_is_a_ghost(status: RunStatus) -> None:
    assert release(running({"status": status})) == Refused(Reason.GHOST)


@pytest.mark.parametrize("status", sorted(set(StageStatus) - {StageStatus.RUNNING}))
def test_a_stage_that_is_not_running_is_lost(status: StageStatus) -> None:
    assert release(with_stage(running(), "a", status=status)) == Refused(Reason.LOST)
