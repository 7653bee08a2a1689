"""How groups and runs end."""

from dataclasses import replace

import pytest

from engine.domain.lifecycle import Status
from engine.domain.records import RunRecord
from engine.domain.stored_value import inline
from engine.ports.persistence import NoClaim, Persistence
from engine.ports.write_set import Applied, Closes, CompleteRun, Verdict, WriteSet
from engine.testing.clock import FakeClock
from engine.testing.contracts.reading import events_of, everything, job_of, run_of, stage_of, told
from engine.testing.contracts.rows import (
    a_group,
    a_lease,
    a_run,
    an_event,
    at,
    begun,
    cancels,
    claim,
    completed_event,
    completes,
    failed_event,
    fails,
    polled,
    releases_lease,
    suspends,
)
from engine.testing.contracts.store import StoreContract

NEXT = a_group(2, "next", events=(an_event(),))


def begin(persistence: Persistence, *stage_ids: str) -> None:
    """Run "r" with all stages of its first group claimed, each under a token like its name."""
    persistence.apply(begun(*stage_ids))
    for stage_id in stage_ids:
        persistence.claim(claim(stage_id, stage_id))


def statuses(persistence: Persistence) -> dict[str, tuple[Status, Status]]:
    """Of each stage and its job."""
    rows = everything(persistence, "r")
    jobs = {job["stage_id"]: job["status"] for job in rows["jobs"]}
    return {stage["stage_id"]: (stage["status"], jobs[stage["stage_id"]]) for stage in rows["stages"]}


class EndingContract(StoreContract):
    def test_the_last_finisher_opens_the_next_group(self, persistence: Persistence) -> None:
        begin(persistence, "a", "b")
        first = persistence.apply(completes("a", "a", then=NEXT))
        assert (first.verdict, first.closed) == (Verdict.APPLIED, False)
        assert persistence.read(lambda tx: tx.jobs.find("r.next.job")) is None
        last = persistence.apply(completes("b", "b", then=NEXT))
        assert (last.closed, last.lease_until) == (True, None)
        assert (run_of(persistence).group_no, run_of(persistence).group_open) == (2, 1)
        assert job_of(persistence, "next").status is Status.PENDING
        assert told(persistence)[-2:] == ["stage:completed", "workflow:created"]

    def test_the_last_finisher_can_claim_what_it_opens(self, persistence: Persistence, clock: FakeClock) -> None:
        begin(persistence, "a")
        clock.advance(7)
        applied = persistence.apply(completes("a", "a", then=replace(NEXT, lease=a_lease("n"))))
        assert (applied.closed, applied.lease_until) == (True, at(67))
        stage, job = stage_of(persistence, "next"), job_of(persistence, "next")
        assert (stage.status, stage.started_at, stage.version) == (Status.RUNNING, at(2), 1)
        assert (job.status, job.attempt, job.lease_token, job.lease_until) == (Status.RUNNING, 1, "n", at(67))
        assert persistence.apply(completes("next", "n")).run_status is Status.COMPLETED

    def test_a_run_completes_with_its_totals(self, persistence: Persistence) -> None:
        begin(persistence, "a")
        then = CompleteRun(event=completed_event(), output=inline("all"))
        applied = persistence.apply(completes("a", "a", then=then, cost=1.5, tokens=10))
        assert (applied.closed, applied.run_status) == (True, Status.COMPLETED)
        run = run_of(persistence)
        assert (run.output, run.completed_at, run.duration_ms) == (inline("all"), at(2), 2000)
        payload = events_of(persistence)[-1].payload
        assert payload["type"] == "workflow:completed"
        assert (payload["duration_ms"], payload["output"]) == (2000, inline("all"))
        assert (payload["total_cost"], payload["total_tokens"]) == (1.5, 10)

    def test_a_parallel_group_gives_the_outputs_of_all_its_stages(self, persistence: Persistence) -> None:
        begin(persistence, "first")
        persistence.apply(completes("first", "first", then=a_group(2, "a", "b")))
        for stage_id in "ab":
            persistence.claim(claim(stage_id, stage_id))
            persistence.apply(completes(stage_id, stage_id))
        stages = {"a": inline("out of a"), "b": inline("out of b")}
        assert run_of(persistence).output == {"stages": stages}
        assert events_of(persistence)[-1].payload["output"] == {"stages": stages}

    def test_nothing_happens_after_a_group_when_nobody_says_what(self, persistence: Persistence) -> None:
        begin(persistence, "a")
        assert persistence.apply(completes("a", "a", then=None)).closed
        assert (run_of(persistence).status, run_of(persistence).group_open) == (Status.RUNNING, 0)

    def test_a_lone_failure_ends_its_run(self, persistence: Persistence) -> None:
        begin(persistence, "a")
        applied = persistence.apply(fails("a", "a"))
        assert (applied.closed, applied.run_status, applied.failing) == (True, Status.FAILED, False)
        run = run_of(persistence)
        assert (run.failure_code, run.failure_message, run.completed_at) == ("BROKEN", "a broke", at(2))
        payload = events_of(persistence)[-1].payload
        assert (payload["type"], payload["error"], payload["error_code"]) == ("workflow:failed", "a broke", "BROKEN")

    def test_a_failure_is_taken_from_the_stage_if_the_run_s_patch_has_none(self, persistence: Persistence) -> None:
        begin(persistence, "a")
        persistence.apply(fails("a", "a", run={}))
        assert (run_of(persistence).failure_code, run_of(persistence).failure_message) == ("BROKEN", "a broke")

    def test_a_failure_cancels_what_waits_and_waits_for_what_runs(self, persistence: Persistence) -> None:
        begin(persistence, "bad", "retried", "suspended", "running")
        persistence.apply(fails("retried", "retried", retry_in=5))
        persistence.apply(suspends("suspended", "suspended"))
        applied = persistence.apply(fails("bad", "bad"))
        assert (applied.closed, applied.failing, applied.run_status) == (False, True, Status.RUNNING)
        assert statuses(persistence) == {
            "bad": (Status.FAILED, Status.FAILED),
            "retried": (Status.FAILED, Status.CANCELLED),
            "suspended": (Status.CANCELLED, Status.CANCELLED),
            "running": (Status.RUNNING, Status.RUNNING),
        }
        assert run_of(persistence).group_open == 1
        last = persistence.apply(completes("running", "running", then=NEXT))
        assert (last.closed, last.run_status) == (True, Status.FAILED)
        assert stage_of(persistence, "running").status is Status.COMPLETED
        assert told(persistence)[-2:] == ["stage:completed", "workflow:failed"]

    def test_a_pending_sibling_is_cancelled_by_a_failure(self, persistence: Persistence) -> None:
        persistence.apply(begun("a", "b"))
        persistence.claim(claim("a", "a"))
        assert persistence.apply(fails("a", "a")).closed
        assert statuses(persistence)["b"] == (Status.CANCELLED, Status.CANCELLED)
        assert isinstance(persistence.claim(claim("b", "b")), NoClaim)

    def test_the_first_failure_is_the_run_s(self, persistence: Persistence) -> None:
        begin(persistence, "a", "b")
        persistence.apply(fails("a", "a"))
        ended = persistence.apply(fails("b", "b"))
        assert (ended.closed, ended.run_status) == (True, Status.FAILED)
        assert run_of(persistence).failure_message == "a broke"
        assert events_of(persistence)[-1].payload["error"] == "a broke"

    @pytest.mark.parametrize(
        "again",
        [fails("b", "b", retry_in=5), releases_lease("b", token="b"), suspends("b", "b")],
        ids=["retry", "lease released", "suspended"],
    )
    def test_a_failing_run_waits_for_no_other_try(self, persistence: Persistence, again: WriteSet) -> None:
        begin(persistence, "a", "b")
        persistence.apply(fails("a", "a"))
        ended = persistence.apply(again)
        assert (ended.closed, ended.run_status) == (True, Status.FAILED)
        assert statuses(persistence)["b"] == (Status.CANCELLED, Status.CANCELLED)
        assert stage_of(persistence, "b").completed_at == again.at
        assert persistence.apply(again).verdict is Verdict.REPEAT

    def test_a_lease_lost_in_a_failing_run_closes_its_stage(self, persistence: Persistence, clock: FakeClock) -> None:
        begin(persistence, "a", "b")
        persistence.apply(fails("a", "a"))
        clock.advance(61)
        assert persistence.apply(releases_lease("b", token="b", expired=True)).run_status is Status.FAILED

    def test_a_group_can_be_declared_done(self, persistence: Persistence) -> None:
        begin(persistence, "a", "b")
        persistence.apply(completes("a", "a"))
        done = WriteSet(run_id="r", at=at(9), closes=Closes.DONE, then=NEXT, failed_event=failed_event())
        assert persistence.apply(done).closed
        assert (run_of(persistence).group_no, run_of(persistence).status) == (2, Status.RUNNING)

    def test_a_group_declared_done_ends_a_run_with_a_failure(self, persistence: Persistence) -> None:
        begin(persistence, "a")
        failure = {"failure_code": "X", "failure_message": "why"}
        done = WriteSet(run_id="r", at=at(9), run=failure, closes=Closes.DONE, then=NEXT, failed_event=failed_event())
        assert persistence.apply(done).run_status is Status.FAILED
        assert statuses(persistence) == {"a": (Status.CANCELLED, Status.CANCELLED)}

    def test_a_cancel_ends_everything_at_once(self, persistence: Persistence) -> None:
        begin(persistence, "done", "suspended", "running", "retried")
        persistence.apply(completes("done", "done"))
        persistence.apply(suspends("suspended", "suspended"))
        persistence.apply(fails("retried", "retried", retry_in=9))
        applied = persistence.apply(cancels())
        assert (applied.run_status, applied.closed) == (Status.CANCELLED, False)
        run = run_of(persistence)
        assert (run.completed_at, run.duration_ms, run.group_open) == (at(4), 4000, 0)
        assert statuses(persistence) == {
            "done": (Status.COMPLETED, Status.COMPLETED),
            "suspended": (Status.CANCELLED, Status.CANCELLED),
            "running": (Status.CANCELLED, Status.CANCELLED),
            "retried": (Status.FAILED, Status.CANCELLED),
        }
        assert job_of(persistence, "running").lease_token is None
        assert persistence.apply(cancels()).verdict is Verdict.GHOST
        for finish in (suspends("suspended", "suspended"), fails("retried", "retried", retry_in=9)):
            assert persistence.apply(finish).verdict is Verdict.REPEAT

    def test_a_run_that_never_started_has_no_duration(self, persistence: Persistence) -> None:
        run = a_run(status=Status.PENDING, started_at=None)
        persistence.apply(WriteSet(run_id="r", at=at(0), create=run))
        persistence.apply(cancels())
        assert (run_of(persistence).completed_at, run_of(persistence).duration_ms) == (at(4), None)

    def test_a_run_that_ends_takes_stray_jobs_with_it(self, persistence: Persistence) -> None:
        begin(persistence, "a")
        persistence.claim(claim("a", "a"))
        persistence.transact(lambda tx: tx.stages.insert_missing(a_group(1, "stray").stages))
        persistence.apply(completes("a", "a"))
        assert stage_of(persistence, "stray").status is Status.CANCELLED

    def test_a_poll_finishes_a_suspended_stage(self, persistence: Persistence) -> None:
        begin(persistence, "a")
        persistence.apply(suspends("a", "a"))
        persistence.transact(lambda tx: tx.stages.claim_poll("r.a", token="poll", now=at(60), until=at(90)))
        assert persistence.apply(polled("a", token="another")).verdict is Verdict.LOST
        applied: Applied = persistence.apply(polled("a"))
        assert (applied.closed, applied.run_status) == (True, Status.COMPLETED)
        assert persistence.apply(suspends("a", "a")).verdict is Verdict.REPEAT

    def test_a_terminal_run_holds_nothing_open(self, persistence: Persistence) -> None:
        for number, end in enumerate((fails, completes)):
            run_id = f"r{number}"
            persistence.apply(begun("a", "b", run_id=run_id))
            for stage_id in "ab":
                persistence.claim(claim(stage_id, stage_id, run_id))
            for stage_id in "ab":
                persistence.apply(end(stage_id, stage_id, run_id))
            run: RunRecord = run_of(persistence, run_id)
            assert (run.status in {Status.FAILED, Status.COMPLETED}, run.group_open) == (True, 0)
