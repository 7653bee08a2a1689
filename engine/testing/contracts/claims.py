from collections.abc import Callable
from typing import Any

import pytest

from engine.domain.lifecycle import Status
from engine.domain.stored_value import inline
from engine.ports.persistence import Claim, NoClaim, Persistence
from engine.ports.transaction import Tx
from engine.testing.clock import FakeClock
from engine.testing.contracts.reading import events_of, everything, job_of, run_of, stage_of, told
from engine.testing.contracts.rows import (
    a_group,
    at,
    begun,
    cancels,
    claim,
    claim_any,
    completes,
    fails,
    suspends,
)
from engine.testing.contracts.store import StoreContract


class ClaimContract(StoreContract):
    def test_a_claim_takes_the_job_and_starts_its_stage(self, persistence: Persistence, clock: FakeClock) -> None:
        persistence.apply(begun("a"))
        clock.advance(5)
        claimed = persistence.claim(claim())
        assert isinstance(claimed, Claim)
        assert (claimed.run, claimed.stage, claimed.job) == (
            run_of(persistence),
            stage_of(persistence),
            job_of(persistence),
        )
        assert (claimed.stage.status, claimed.stage.started_at, claimed.stage.version) == (Status.RUNNING, at(1), 2)
        job = claimed.job
        assert (job.status, job.attempt, job.worker_id) == (Status.RUNNING, 1, "worker of t")
        assert (job.lease_token, job.lease_until) == ("t", at(65))
        assert (claimed.run.version, claimed.run.event_seq, claimed.previous) == (2, 2, {})
        payload = events_of(persistence)[-1].payload
        assert (payload["type"], payload["stage_id"], payload["attempt"]) == ("stage:started", "a", 1)

    def test_a_claim_knows_the_outputs_of_the_group_before(self, persistence: Persistence) -> None:
        persistence.apply(begun("first"))
        persistence.claim(claim("first"))
        persistence.apply(completes("first", then=a_group(2, "a", "b")))
        for stage_id in "ab":
            persistence.claim(claim(stage_id, stage_id))
            persistence.apply(completes(stage_id, stage_id, then=a_group(3, "last")))
        claimed = persistence.claim(claim("last"))
        assert isinstance(claimed, Claim)
        assert claimed.previous == {"a": inline("out of a"), "b": inline("out of b")}

    def test_a_job_is_claimed_once(self, persistence: Persistence, clock: FakeClock) -> None:
        persistence.apply(begun("a"))
        persistence.claim(claim())
        before = everything(persistence, "r")
        clock.advance(59)
        assert persistence.claim(claim(token="other")) == NoClaim(later_at=at(60))
        assert persistence.claim(claim_any("other")) == NoClaim()
        assert everything(persistence, "r") == before

    def test_the_same_claim_again_is_the_same_claim(self, persistence: Persistence, clock: FakeClock) -> None:
        persistence.apply(begun("a"))
        persistence.claim(claim())
        clock.advance(10)
        again = persistence.claim(claim())
        assert isinstance(again, Claim)
        assert (again.job.attempt, again.job.lease_until) == (1, at(70))
        assert told(persistence).count("stage:started") == 1

    def test_a_job_whose_lease_ran_out_is_taken_over_by_id(self, persistence: Persistence, clock: FakeClock) -> None:
        persistence.apply(begun("a"))
        persistence.claim(claim())
        clock.advance(60)
        taken = persistence.claim(claim(token="second"))
        assert isinstance(taken, Claim)
        assert (taken.job.attempt, taken.job.lease_token) == (2, "second")
        assert events_of(persistence)[-1].payload["attempt"] == 2

    def test_a_job_without_attempts_left_is_not_taken_over(self, persistence: Persistence, clock: FakeClock) -> None:
        persistence.apply(begun("a"))
        for token in "123":
            assert isinstance(persistence.claim(claim(token=token)), Claim)
            clock.advance(60)
        assert persistence.claim(claim(token="4")) == NoClaim()

    def test_a_retry_is_claimed_when_it_is_due(self, persistence: Persistence, clock: FakeClock) -> None:
        persistence.apply(begun("a"))
        persistence.claim(claim())
        persistence.apply(fails(retry_in=5))
        assert persistence.claim(claim(token="second")) == NoClaim(later_at=at(5))
        assert persistence.claim(claim_any("second")) == NoClaim()
        clock.advance(5)
        claimed = persistence.claim(claim_any("second"))
        assert isinstance(claimed, Claim)
        assert (claimed.job.attempt, claimed.stage.status, claimed.stage.completed_at) == (2, Status.RUNNING, None)

    @pytest.mark.parametrize("end", [cancels, fails, completes, suspends], ids=lambda end: str(end.__name__))
    def test_what_has_ended_is_never_claimed(self, persistence: Persistence, clock: FakeClock, end: Any) -> None:
        persistence.apply(begun("a"))
        persistence.claim(claim())
        persistence.apply(end())
        clock.advance(999)
        before = everything(persistence, "r")
        assert persistence.claim(claim(token="late")) == NoClaim()
        assert persistence.claim(claim()) == NoClaim()
        assert persistence.claim(claim_any("late")) == NoClaim()
        assert everything(persistence, "r") == before

    def test_a_run_that_is_not_running_gives_no_jobs(self, persistence: Persistence) -> None:
        persistence.apply(begun("a"))
        persistence.transact(lambda tx: tx.runs.update("r", {"status": Status.PENDING}))
        assert persistence.claim(claim()) == NoClaim()
        assert persistence.claim(claim_any()) == NoClaim()

    def test_a_failing_run_gives_no_jobs(self, persistence: Persistence) -> None:
        persistence.apply(begun("a"))
        persistence.transact(lambda tx: tx.runs.update("r", {"failure_code": "X"}))
        assert persistence.claim(claim()) == NoClaim()
        assert persistence.claim(claim_any()) == NoClaim()

    def test_jobs_that_cannot_be_had_do_not_hide_others(self, persistence: Persistence) -> None:
        for number in range(20):
            persistence.apply(begun("a", run_id=f"r{number:02}"))
        for number in range(19):
            persistence.transact(_begin_to_fail(f"r{number:02}"))
        claimed = persistence.claim(claim_any())
        assert isinstance(claimed, Claim)
        assert claimed.run.id == "r19"

    def test_an_unknown_job_is_no_claim(self, persistence: Persistence) -> None:
        assert persistence.claim(claim("unknown")) == NoClaim()

    def test_a_job_whose_stage_is_gone_never_runs(self, persistence: Persistence) -> None:
        persistence.apply(begun("a"))
        persistence.transact(lambda tx: tx.stages.delete(["r.a"]))
        assert persistence.claim(claim()) == NoClaim()
        assert persistence.claim(claim_any()) == NoClaim()

    @pytest.mark.parametrize("status", [Status.COMPLETED, Status.CANCELLED, Status.SKIPPED])
    def test_a_job_whose_stage_is_finished_never_runs(self, persistence: Persistence, status: Status) -> None:
        persistence.apply(begun("a"))
        persistence.transact(lambda tx: tx.stages.update("r.a", {"status": status}))
        assert persistence.claim(claim()) == NoClaim()
        assert persistence.claim(claim_any()) == NoClaim()

    def test_the_most_urgent_job_wins_then_the_earliest(self, persistence: Persistence) -> None:
        for stage_id in "abc":
            persistence.apply(begun(stage_id, run_id=stage_id))
        persistence.transact(lambda tx: tx.jobs.update("b.b.job", {"priority": 9}))
        persistence.transact(lambda tx: tx.jobs.update("c.c.job", {"due_at": at(-1)}))
        claims = [persistence.claim(claim_any(str(number))) for number in range(4)]
        order = [each.stage.stage_id for each in claims if isinstance(each, Claim)]
        assert (order, claims[3]) == (["b", "c", "a"], NoClaim())

    def test_only_the_pools_and_the_run_asked_for_count(self, persistence: Persistence) -> None:
        persistence.apply(begun("a", run_id="r1"))
        persistence.apply(begun("a", run_id="r2"))
        assert persistence.claim(claim_any(pools=("gpu",))) == NoClaim()
        assert persistence.claim(claim_any(pools=("gpu",), run_id="r2")) == NoClaim()
        claimed = persistence.claim(claim_any(pools=("gpu", "default"), run_id="r2"))
        assert isinstance(claimed, Claim)
        assert claimed.run.id == "r2"
        assert persistence.claim(claim_any("second", run_id="r2")) == NoClaim()


def _begin_to_fail(run_id: str) -> Callable[[Tx], object]:
    return lambda tx: tx.runs.update(run_id, {"failure_code": "X"})
