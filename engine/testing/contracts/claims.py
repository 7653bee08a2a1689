from typing import Any

import pytest

from engine.domain.lifecycle import JobStatus, RunStatus, StageStatus
from engine.domain.records import StageRecord
from engine.domain.values import inline
from engine.ports.changes import PASSED, Changes, Delete, Refused
from engine.ports.persistence import Claim, NoClaim, Persistence
from engine.testing.clock import FakeClock
from engine.testing.contracts.changes import (
    applied,
    begun,
    cancels,
    completes,
    fails,
    insert,
    opened,
    releases_lease,
    set_job,
    set_run,
    set_stage,
    suspends,
    written,
)
from engine.testing.contracts.reading import events_of, everything, job_of, run_of, stage_of, told
from engine.testing.contracts.rows import a_job, a_run, a_stage, at, claim, claim_any
from engine.testing.contracts.store import StoreContract

STARTABLE = frozenset({StageStatus.PENDING, StageStatus.FAILED, StageStatus.SUSPENDED, StageStatus.RUNNING})
ENDS = {"cancelled": cancels("a"), "failed": fails(), "completed": completes(), "suspended": suspends()}


class ClaimContract(StoreContract):
    @pytest.fixture
    def started(self, persistence: Persistence) -> Persistence:
        """The store with a RUNNING run "r", whose stage "a" waits with a due job."""
        applied(persistence, begun("a"))
        return persistence

    def test_a_claim_takes_the_job_and_starts_its_stage(self, started: Persistence, clock: FakeClock) -> None:
        clock.advance(5)
        claimed = started.claim(claim())
        assert isinstance(claimed, Claim)
        assert (claimed.run, claimed.stage, claimed.job) == (run_of(started), stage_of(started), job_of(started))
        stage, job, run = claimed.stage, claimed.job, claimed.run
        assert (stage.status, stage.started_at, stage.version) == (StageStatus.RUNNING, at(1), 2)
        assert (job.status, job.attempt, job.worker_id) == (JobStatus.RUNNING, 1, "worker of t")
        assert (job.lease_token, job.lease_until) == ("t", at(65))
        assert (run.version, run.event_seq, claimed.previous) == (1, 2, {})
        event = events_of(started)[-1]
        assert (event.sequence, event.occurred_at) == (2, at(1))
        assert (event.event_type, event.payload["stage_id"], event.payload["attempt"]) == ("stage:started", "a", 1)
        assert "timestamp" not in event.payload

    def test_the_time_of_a_start_never_lies_before_that_of_an_earlier_event(self, started: Persistence) -> None:
        set_run(started, last_event_at=at(9))
        started.claim(claim())
        assert (events_of(started)[-1].occurred_at, run_of(started).last_event_at) == (at(9), at(9))

    def test_a_claim_knows_the_outputs_of_the_group_before(self, persistence: Persistence) -> None:
        applied(persistence, begun("first"))
        persistence.claim(claim("first"))
        applied(persistence, completes("first", more=(*opened(2, "b", "a"), *opened(3, "last"))))
        for stage_id in "ab":
            persistence.claim(claim(stage_id, stage_id))
            applied(persistence, completes(stage_id, stage_id))
        claimed = persistence.claim(claim("last"))
        assert isinstance(claimed, Claim)
        assert claimed.previous == {"b": inline("out of b"), "a": inline("out of a")}
        assert list(claimed.previous) == ["b", "a"]

    def test_a_job_is_claimed_once(self, started: Persistence, clock: FakeClock) -> None:
        started.claim(claim())
        before = everything(started, "r")
        clock.advance(59)
        assert started.claim(claim(token="other")) == NoClaim(later_at=at(60))
        assert started.claim(claim_any("other")) == NoClaim()
        assert everything(started, "r") == before

    def test_the_same_claim_again_is_the_same_claim(self, started: Persistence, clock: FakeClock) -> None:
        started.claim(claim())
        clock.advance(10)
        again = started.claim(claim())
        assert isinstance(again, Claim)
        assert (again.job.attempt, again.job.lease_until) == (1, at(70))
        assert (again.stage, again.job) == (stage_of(started), job_of(started))
        assert told(started).count("stage:started") == 1

    def test_a_job_whose_lease_ran_out_is_taken_over_by_id(self, started: Persistence, clock: FakeClock) -> None:
        started.claim(claim())
        clock.advance(60)
        taken = started.claim(claim(token="second"))
        assert isinstance(taken, Claim)
        assert (taken.job.attempt, taken.job.lease_token) == (2, "second")
        assert events_of(started)[-1].payload["attempt"] == 2

    def test_a_job_whose_lease_ran_out_is_no_due_job(self, started: Persistence, clock: FakeClock) -> None:
        started.claim(claim())
        clock.advance(60)
        assert started.claim(claim_any("second")) == NoClaim()
        assert started.claim(claim_any("second", run_id="r")) == NoClaim()

    def test_a_job_without_attempts_left_is_not_taken_over(self, started: Persistence, clock: FakeClock) -> None:
        for token in "123":
            assert isinstance(started.claim(claim(token=token)), Claim)
            clock.advance(60)
        assert started.claim(claim(token="4")) == NoClaim()

    def test_a_retry_is_claimed_when_it_is_due(self, started: Persistence, clock: FakeClock) -> None:
        started.claim(claim())
        applied(started, fails(retry_in=5))
        assert started.claim(claim(token="second")) == NoClaim(later_at=at(5))
        assert started.claim(claim_any("second")) == NoClaim()
        clock.advance(5)
        claimed = started.claim(claim_any("second"))
        assert isinstance(claimed, Claim)
        assert (claimed.job.attempt, claimed.stage.status) == (2, StageStatus.RUNNING)
        assert (claimed.stage.completed_at, claimed.stage.duration_ms) == (None, None)

    @pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
    def test_a_job_that_has_ended_is_never_claimed(self, started: Persistence, clock: FakeClock, end: Any) -> None:
        started.claim(claim())
        applied(started, end)
        clock.advance(999)
        before = everything(started, "r")
        assert started.claim(claim(token="late")) == NoClaim()
        assert started.claim(claim()) == NoClaim()
        assert started.claim(claim_any("late")) == NoClaim()
        assert everything(started, "r") == before

    @pytest.mark.parametrize("status", sorted(set(JobStatus) - {JobStatus.PENDING, JobStatus.RUNNING}))
    def test_only_a_job_that_waits_or_runs_is_claimed(self, started: Persistence, status: JobStatus) -> None:
        set_job(started, status=status, lease_token="t", lease_until=at(-1))
        assert started.claim(claim(token="other")) == NoClaim()
        assert started.claim(claim()) == NoClaim()
        assert started.claim(claim_any("other")) == NoClaim()

    @pytest.mark.parametrize("status", sorted(set(RunStatus) - {RunStatus.RUNNING}))
    def test_a_run_that_is_not_running_gives_no_jobs(self, started: Persistence, status: RunStatus) -> None:
        set_run(started, status=status)
        assert started.claim(claim()) == NoClaim()
        assert started.claim(claim_any()) == NoClaim()
        assert started.claim(claim_any(run_id="r")) == NoClaim()

    def test_a_failing_run_gives_no_jobs(self, started: Persistence) -> None:
        set_run(started, failure_code="X")
        assert started.claim(claim()) == NoClaim()
        assert started.claim(claim_any()) == NoClaim()
        assert started.claim(claim_any(run_id="r")) == NoClaim()

    def test_jobs_that_cannot_be_had_do_not_hide_others(self, persistence: Persistence) -> None:
        for number in range(20):
            applied(persistence, begun("a", run_id=f"r{number:02}"))
        for number in range(19):
            set_run(persistence, f"r{number:02}", failure_code="X")
        claimed = persistence.claim(claim_any())
        assert isinstance(claimed, Claim)
        assert claimed.run.id == "r19"

    def test_an_unknown_job_is_no_claim(self, persistence: Persistence) -> None:
        assert persistence.claim(claim("unknown")) == NoClaim()
        assert persistence.claim(claim_any(run_id="unknown")) == NoClaim()

    def test_a_job_whose_stage_is_gone_never_runs(self, started: Persistence) -> None:
        written(started, Delete(record=StageRecord, ids=("r.a",)))
        assert started.claim(claim()) == NoClaim()
        assert started.claim(claim_any()) == NoClaim()

    @pytest.mark.parametrize("status", StageStatus)
    def test_a_job_starts_a_stage_that_has_not_ended(self, started: Persistence, status: StageStatus) -> None:
        set_stage(started, status=status)
        answers = [started.claim(claim_any()), started.claim(claim(token="other"))]
        assert isinstance(answers[0], Claim) is (status in STARTABLE)
        if status not in STARTABLE:
            assert answers == [NoClaim(), NoClaim()]
            assert stage_of(started).status is status

    def test_the_lowest_rank_wins_then_the_lowest_id(self, persistence: Persistence) -> None:
        for number, run_id in enumerate("dcba"):
            insert(persistence, a_run(run_id), a_stage(run_id, run_id))
            rank = at(-300) if number else at(-301)
            insert(persistence, a_job(run_id, run_id, rank=rank, created_at=at(-number)))
        claims = [persistence.claim(claim_any(str(number))) for number in range(5)]
        order = [each.stage.stage_id for each in claims if isinstance(each, Claim)]
        assert (order, claims[4]) == (["d", "a", "b", "c"], NoClaim())

    def test_the_lowest_rank_of_a_run_wins(self, persistence: Persistence) -> None:
        insert(persistence, a_run(), *(a_stage(name) for name in "abc"))
        insert(persistence, a_job("a"), a_job("b", priority=9), a_job("c", priority=9, due_at=at(1)))
        first = persistence.claim(claim_any(run_id="r"))
        second = persistence.claim(claim_any("u", run_id="r"))
        assert [each.stage.stage_id for each in (first, second) if isinstance(each, Claim)] == ["b", "a"]

    def test_only_the_pools_and_the_run_asked_for_count(self, persistence: Persistence) -> None:
        applied(persistence, begun("a", run_id="r1"))
        applied(persistence, begun("a", run_id="r2"))
        assert persistence.claim(claim_any(pools=("gpu",))) == NoClaim()
        assert persistence.claim(claim_any(pools=("gpu",), run_id="r2")) == NoClaim()
        claimed = persistence.claim(claim_any(pools=("gpu", "default"), run_id="r2"))
        assert isinstance(claimed, Claim)
        assert claimed.run.id == "r2"
        assert persistence.claim(claim_any("second", run_id="r2")) == NoClaim()

    @pytest.mark.parametrize(
        "outcome", [completes(), fails(), fails(retry_in=5), suspends()], ids=["done", "failed", "retry", "suspended"]
    )
    def test_who_lost_the_lease_cannot_finish(self, started: Persistence, clock: FakeClock, outcome: Changes) -> None:
        started.claim(claim())
        clock.advance(61)
        started.claim(claim(token="second"))
        assert started.write(outcome) == Refused()
        applied(started, completes(token="second"))
        assert told(started) == ["workflow:created", "stage:started", "stage:started", "stage:completed"]

    def test_a_lease_that_ran_out_but_was_not_taken_over_is_still_held(
        self, started: Persistence, clock: FakeClock
    ) -> None:
        started.claim(claim())
        clock.advance(61)
        applied(started, completes())
        assert stage_of(started).status is StageStatus.COMPLETED

    def test_a_job_is_released_only_once_its_lease_ran_out(self, started: Persistence, clock: FakeClock) -> None:
        started.claim(claim())
        expired = releases_lease(expect={"lease_until": PASSED})
        clock.advance(59.999)
        assert started.write(expired) == Refused()
        clock.advance(0.001)
        applied(started, expired)
        assert started.write(expired) == Refused()
        job = job_of(started)
        assert (job.status, job.lease_token, job.worker_id, job.attempt) == (JobStatus.PENDING, None, None, 1)
        assert (job.due_at, job.rank) == (at(60), at(-240))
