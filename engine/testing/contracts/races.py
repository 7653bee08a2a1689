from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest

from engine.domain.lifecycle import OPEN, Status
from engine.domain.records import KeyRecord, KeyState, RunRecord
from engine.ports.persistence import Claim, Persistence
from engine.ports.write_set import Applied, Verdict, WriteSet
from engine.testing.contracts.endings import begin
from engine.testing.contracts.reading import events_of, everything, job_of, run_of, told
from engine.testing.contracts.rows import (
    AT,
    a_group,
    a_lease,
    at,
    begun,
    cancels,
    claim,
    claim_any,
    completes,
    fails,
    is_open,
)
from engine.testing.contracts.store import StoreContract
from engine.testing.contracts.threads import together

WIDTH = 8
ROUNDS = range(5)


def finish(persistence: Persistence, write_sets: Sequence[WriteSet]) -> list[Applied]:
    return together([partial(persistence.apply, write_set) for write_set in write_sets])


def check(persistence: Persistence, run: RunRecord) -> None:
    """Events without gaps; a terminal run has nothing open."""
    sequences = [event.sequence for event in events_of(persistence, run.id)]
    assert sequences == list(range(1, run.event_seq + 1))
    if not is_open(run):
        rows = everything(persistence, run.id)
        assert not {row["status"] for family in ("stages", "jobs") for row in rows[family]} & OPEN


class RaceContract(StoreContract):
    @pytest.mark.parametrize("_round", ROUNDS)
    def test_two_workers_never_get_the_same_job(self, persistence: Persistence, _round: int) -> None:
        for number in range(WIDTH // 2):
            persistence.apply(begun("a", "b", run_id=f"r{number}"))

        def work(name: int) -> list[str]:
            taken: list[str] = []
            while isinstance(claimed := persistence.claim(claim_any(f"{name}-{len(taken)}")), Claim):
                taken.append(claimed.job.id)
            return taken

        taken = [job for jobs in together([partial(work, name) for name in range(WIDTH)]) for job in jobs]
        assert sorted(taken) == [f"r{number}.{stage}.job" for number in range(WIDTH // 2) for stage in "ab"]

    @pytest.mark.parametrize("_round", ROUNDS)
    def test_one_job_all_are_notified_of_is_claimed_by_one(self, persistence: Persistence, _round: int) -> None:
        persistence.apply(begun("a"))
        claims = together([partial(persistence.claim, claim(token=str(name))) for name in range(WIDTH)])
        assert sum(isinstance(each, Claim) for each in claims) == 1
        assert (job_of(persistence).attempt, told(persistence).count("stage:started")) == (1, 1)

    @pytest.mark.parametrize("_round", ROUNDS)
    @pytest.mark.parametrize("lease", [None, a_lease("next")], ids=["open", "open and claim"])
    def test_exactly_one_finisher_opens_the_next_group(self, persistence: Persistence, _round: int, lease: Any) -> None:
        stages = [f"s{number}" for number in range(WIDTH)]
        begin(persistence, *stages)
        then = a_group(2, "next", lease=lease)
        applied = finish(persistence, [completes(stage, stage, then=then) for stage in stages])
        assert sum(each.closed for each in applied) == 1
        run = run_of(persistence)
        assert (run.status, run.group_no, run.group_open) == (Status.RUNNING, 2, 1)
        check(persistence, run)

    @pytest.mark.parametrize("_round", ROUNDS)
    def test_failures_and_successes_end_a_run_once(self, persistence: Persistence, _round: int) -> None:
        stages = [f"s{number}" for number in range(WIDTH)]
        begin(persistence, *stages)
        ends = [completes(each, each) if place % 2 else fails(each, each) for place, each in enumerate(stages)]
        applied = finish(persistence, ends)
        assert sum(each.closed for each in applied) == 1
        assert told(persistence).count("workflow:failed") == 1
        run = run_of(persistence)
        assert run.status is Status.FAILED
        check(persistence, run)

    @pytest.mark.parametrize("_round", ROUNDS)
    def test_a_finish_and_a_cancel_never_both_win(self, persistence: Persistence, _round: int) -> None:
        begin(persistence, "a")
        finished, cancelled = finish(persistence, [completes("a", "a"), cancels()])
        assert {finished.verdict, cancelled.verdict} == {Verdict.APPLIED, Verdict.GHOST}
        run = run_of(persistence)
        won = finished.verdict is Verdict.APPLIED
        assert run.status is (Status.COMPLETED if won else Status.CANCELLED)
        assert ("stage:completed" in told(persistence)) is won
        check(persistence, run)

    @pytest.mark.parametrize("_round", ROUNDS)
    def test_a_claim_and_a_cancel_leave_nothing_running(self, persistence: Persistence, _round: int) -> None:
        persistence.apply(begun("a"))
        works: list[Callable[[], object]] = [
            partial(persistence.claim, claim()),
            partial(persistence.apply, cancels()),
        ]
        together(works)
        assert job_of(persistence).status is Status.CANCELLED
        check(persistence, run_of(persistence))

    @pytest.mark.parametrize("_round", ROUNDS)
    def test_the_same_finish_at_the_same_time_is_applied_once(self, persistence: Persistence, _round: int) -> None:
        begin(persistence, "a", "b")
        applied = finish(persistence, [completes("a", "a")] * WIDTH)
        assert [each.verdict for each in applied].count(Verdict.APPLIED) == 1
        assert {each.verdict for each in applied} == {Verdict.APPLIED, Verdict.REPEAT}
        assert run_of(persistence).group_open == 1

    @pytest.mark.parametrize("_round", ROUNDS)
    def test_one_of_many_creations_under_one_key_wins(self, persistence: Persistence, _round: int) -> None:
        def create(number: int) -> Applied:
            key = KeyRecord(
                tenant="",
                command_type="run.create",
                key="k",
                request_hash="h",
                state=KeyState.DONE,
                acquired_at=AT,
                result={"run": f"r{number}"},
            )
            return persistence.apply(begun("a", run_id=f"r{number}", key=key))

        applied = together([partial(create, number) for number in range(WIDTH)])
        (winner,) = [number for number, each in enumerate(applied) if each.verdict is Verdict.APPLIED]
        others = [each for each in applied if each.verdict is Verdict.KEY_EXISTS]
        assert len(others) == WIDTH - 1
        assert {str(each.key and each.key.result) for each in others} == {str({"run": f"r{winner}"})}

    @pytest.mark.parametrize("_round", ROUNDS)
    def test_events_are_claimed_by_one_flusher(self, persistence: Persistence, _round: int) -> None:
        persistence.apply(begun("a"))

        def flush(token: str) -> int:
            return len(persistence.transact(lambda tx: tx.outbox.claim("r", token=token, seconds=60, limit=9)))

        assert sorted(together([partial(flush, str(name)) for name in range(WIDTH)])) == [0] * (WIDTH - 1) + [1]

    @pytest.mark.parametrize("_round", ROUNDS)
    def test_a_suspended_stage_is_polled_by_one(self, persistence: Persistence, _round: int) -> None:
        persistence.apply(begun("a"))
        persistence.transact(lambda tx: tx.stages.update("r.a", {"status": Status.SUSPENDED}))

        def poll(token: str) -> bool:
            return persistence.transact(
                lambda tx: tx.stages.claim_poll("r.a", token=token, now=at(1), until=at(9)) is not None
            )

        assert sum(together([partial(poll, str(name)) for name in range(WIDTH)])) == 1
