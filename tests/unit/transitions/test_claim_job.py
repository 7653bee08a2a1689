from typing import Any

import pytest

from engine.domain.lifecycle import JobStatus, RunStatus, StageStatus
from engine.ports.changes import Changes, FromNow, JobUpdate
from engine.ports.persistence import ClaimRequest, NoClaim
from engine.testing.contracts.rows import a_lease, at
from engine.transitions.claim_job import claim_job
from engine.transitions.snapshots import RunSnapshot
from tests.unit.transitions.deciding import (
    NOW,
    RETRY,
    a_snapshot,
    after,
    job_in,
    stage_in,
    straight,
    told,
    with_job,
    with_stage,
)

W = straight("a", "next")
STARTABLE = {StageStatus.PENDING, StageStatus.FAILED, StageStatus.SUSPENDED, StageStatus.RUNNING}


def claim(snapshot: RunSnapshot, token: str = "t", now: float = 0) -> Changes | NoClaim:
    request = ClaimRequest(lease=a_lease(token, 60), at=at(5), job_id="r.a.job")
    return claim_job(snapshot.run, stage_in(snapshot, "a"), job_in(snapshot, "a"), request, at(now))


def claimed(snapshot: RunSnapshot, **fields: Any) -> RunSnapshot:
    answer = claim(snapshot, **fields)
    assert isinstance(answer, Changes), answer
    return after(snapshot, answer)


def test_a_claim_takes_the_job_and_starts_its_stage() -> None:
    before = a_snapshot(W, a="PENDING")
    now = claimed(before)
    job, stage = job_in(now, "a"), stage_in(now, "a")
    assert (job.status, job.attempt, job.worker_id, job.lease_token) == (JobStatus.RUNNING, 1, "worker of t", "t")
    assert job.lease_until is not None
    assert (job.lease_until - NOW).total_seconds() == 60
    assert (stage.status, stage.started_at, stage.version) == (StageStatus.RUNNING, at(5), 2)
    assert (now.run.version, now.run.event_seq) == (1, 1)


def test_the_event_of_a_start_has_the_attempt() -> None:
    answer = claim(a_snapshot(W, a=RETRY))
    assert isinstance(answer, Changes)
    assert told(answer) == ["stage:started"]
    assert answer.events[0].payload()["attempt"] == 2


def test_a_retry_starts_anew() -> None:
    before = with_stage(a_snapshot(W, a=RETRY), "a", completed_at=at(2), duration_ms=7)
    stage = stage_in(claimed(before), "a")
    assert (stage.started_at, stage.completed_at, stage.duration_ms) == (at(5), None, None)
    assert stage.error_message == "a broke"


def test_a_claim_repeated_under_its_token_only_renews_the_lease() -> None:
    answer = claim(a_snapshot(W, a="RUNNING"), token="a", now=999)
    assert isinstance(answer, Changes)
    assert answer.writes == (JobUpdate(ids=("r.a.job",), set={"lease_until": FromNow(60)}),)
    assert (answer.run, answer.events) == (None, ())


@pytest.mark.parametrize(("now", "later_at"), [(59.9, at(60)), (60, None)])
def test_a_running_job_is_taken_over_when_its_lease_has_run_out(now: float, later_at: object) -> None:
    before = a_snapshot(W, a="RUNNING")
    answer = claim(before, now=now)
    assert isinstance(answer, NoClaim) is (later_at is not None)
    if isinstance(answer, NoClaim):
        assert answer.later_at == later_at
    else:
        assert (job_in(after(before, answer), "a").attempt, told(answer)) == (2, ["stage:started"])


@pytest.mark.parametrize("now", [0, 999])
def test_a_job_without_attempts_left_is_not_taken_over(now: float) -> None:
    spent = with_job(a_snapshot(W, a="RUNNING"), "a", attempt=3, max_attempts=3)
    assert claim(spent, now=now) == NoClaim()


@pytest.mark.parametrize(("now", "expected"), [(4.9, NoClaim(later_at=at(5))), (5, None)])
def test_a_job_is_claimed_when_it_is_due(now: float, expected: NoClaim | None) -> None:
    before = with_job(a_snapshot(W, a="PENDING"), "a", due_at=at(5))
    answer = claim(before, now=now)
    assert answer == expected or (expected is None and isinstance(answer, Changes))


@pytest.mark.parametrize("status", sorted(set(JobStatus) - {JobStatus.PENDING, JobStatus.RUNNING}))
def test_a_job_that_neither_waits_nor_runs_is_not_claimed(status: JobStatus) -> None:
    before = with_job(a_snapshot(W, a="PENDING"), "a", status=status, lease_token="t", lease_until=at(-1))
    assert claim(before) == NoClaim()


@pytest.mark.parametrize("status", sorted(set(RunStatus) - {RunStatus.RUNNING}))
@pytest.mark.parametrize("state", ["PENDING", "RUNNING"])
def test_a_run_that_is_not_running_gives_no_jobs(status: RunStatus, state: str) -> None:
    before = a_snapshot(W, run={"status": status}, a=state)
    assert claim(before) == claim(before, token="a") == NoClaim()


def test_a_failing_run_gives_no_jobs() -> None:
    before = a_snapshot(W, run={"failure_code": "X"}, a="PENDING")
    assert claim(before) == NoClaim()


@pytest.mark.parametrize("status", StageStatus)
def test_a_job_starts_a_stage_that_has_not_ended(status: StageStatus) -> None:
    before = with_stage(a_snapshot(W, a="PENDING"), "a", status=status)
    assert isinstance(claim(before), Changes) is (status in STARTABLE)


def test_a_job_whose_run_or_stage_is_gone_never_runs() -> None:
    before = a_snapshot(W, a="PENDING")
    request = ClaimRequest(lease=a_lease(), at=at(5))
    stage, job = stage_in(before, "a"), job_in(before, "a")
    assert claim_job(None, stage, job, request, at(0)) == NoClaim()
    assert claim_job(before.run, None, job, request, at(0)) == NoClaim()
