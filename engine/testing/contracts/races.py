"""Many at once: one wins, and nothing is lost."""

from collections.abc import Callable, Sequence
from functools import partial

import pytest

from engine.domain.lifecycle import OPEN_JOBS, OPEN_STAGES, JobStatus, RunStatus, StageStatus
from engine.domain.records import RunRecord
from engine.ports.changes import AtLeast, Changes, Condition, Refused, RunUpdate, Written
from engine.ports.persistence import Claim, LockedRun, Persistence
from engine.ports.transaction import Tx
from engine.testing.contracts.changes import applied, begun, cancels, changes, completes, opened, set_stage
from engine.testing.contracts.reading import events_of, everything, job_of, run_of, told
from engine.testing.contracts.rows import a_key, an_event, at, claim, claim_any
from engine.testing.contracts.store import StoreContract
from engine.testing.contracts.threads import together

WIDTH = 8
ROUNDS = range(5)
STAGES = [f"s{number}" for number in range(WIDTH)]


def begin(persistence: Persistence, *stage_ids: str) -> None:
    """Creates run "r" and claims all its stages. Each stage's id is its token."""
    applied(persistence, begun(*stage_ids))
    for stage_id in stage_ids:
        assert isinstance(persistence.claim(claim(stage_id, stage_id)), Claim)


def write_all(persistence: Persistence, wanted: Sequence[Changes]) -> list[bool]:
    """Writes all at once. Gives which were written."""
    answers = together([partial(persistence.write, each) for each in wanted])
    return [isinstance(answer, Written) for answer in answers]


def check_events(persistence: Persistence, run_id: str = "r") -> None:
    """Checks that the run's events have no gaps and that time does not go back along them."""
    events = events_of(persistence, run_id)
    assert [event.sequence for event in events] == list(range(1, run_of(persistence, run_id).event_seq + 1))
    times = [event.occurred_at for event in events]
    assert times == sorted(times)


def one_less(run_id: str = "r", expect: Condition | None = None) -> RunUpdate:
    return RunUpdate(ids=(run_id,), add={"group_open": -1}, expect={"status": RunStatus.RUNNING, **(expect or {})})


class RaceContract(StoreContract):
    @pytest.mark.parametrize("_round", ROUNDS)
    def test_two_workers_never_get_the_same_job(self, persistence: Persistence, _round: int) -> None:
        for number in range(WIDTH // 2):
            applied(persistence, begun("a", "b", run_id=f"r{number}"))

        def work(name: int) -> list[str]:
            taken: list[str] = []
            while isinstance(claimed := persistence.claim(claim_any(f"{name}-{len(taken)}")), Claim):
                taken.append(claimed.job.id)
            return taken

        taken = [job for jobs in together([partial(work, name) for name in range(WIDTH)]) for job in jobs]
        assert sorted(taken) == [f"r{number}.{stage}.job" for number in range(WIDTH // 2) for stage in "ab"]
        for number in range(WIDTH // 2):
            check_events(persistence, f"r{number}")

    @pytest.mark.parametrize("_round", ROUNDS)
    def test_one_job_all_are_notified_of_is_claimed_by_one(self, persistence: Persistence, _round: int) -> None:
        applied(persistence, begun("a"))
        claims = together([partial(persistence.claim, claim(token=str(name))) for name in range(WIDTH)])
        assert sum(isinstance(each, Claim) for each in claims) == 1
        assert (job_of(persistence).attempt, told(persistence).count("stage:started")) == (1, 1)

    @pytest.mark.parametrize("_round", ROUNDS)
    def test_exactly_one_decision_finds_itself_the_last(self, persistence: Persistence, _round: int) -> None:
        begin(persistence, *STAGES)

        def finish(stage_id: str) -> Written | Refused:
            def decide(locked: LockedRun) -> Changes | Refused:
                assert locked.run is not None
                if locked.run.group_open > 1:
                    return completes(stage_id, stage_id, run=one_less())
                following = RunUpdate(ids=("r",), set={"group_no": 2, "group_open": 1})
                return completes(stage_id, stage_id, run=following, more=opened(2, "next"))

            return persistence.decide("r", decide, job_id=f"r.{stage_id}.job")

        answers = together([partial(finish, stage_id) for stage_id in STAGES])
        assert all(isinstance(answer, Written) for answer in answers)
        run = run_of(persistence)
        assert (run.group_no, run.group_open) == (2, 1)
        assert job_of(persistence, "next").status is JobStatus.PENDING
        check_events(persistence)

    @pytest.mark.parametrize("_round", ROUNDS)
    def test_all_but_the_last_write_without_a_look_at_each_other(self, persistence: Persistence, _round: int) -> None:
        begin(persistence, *STAGES)
        expect: Condition = {"group_open": AtLeast(2)}
        wanted = [completes(stage_id, stage_id, run=one_less(expect=expect)) for stage_id in STAGES]
        assert sum(write_all(persistence, wanted)) == WIDTH - 1
        assert run_of(persistence).group_open == 1
        check_events(persistence)

    @pytest.mark.parametrize("_round", ROUNDS)
    def test_a_decision_sees_what_others_have_decided(self, persistence: Persistence, _round: int) -> None:
        applied(persistence, begun("a"))

        def count() -> Written | Refused:
            def decide(locked: LockedRun) -> Changes | Refused:
                assert locked.run is not None
                counted = RunUpdate(ids=("r",), set={"group_no": locked.run.group_no + 1})
                return changes(run=counted, events=(an_event(),))

            return persistence.decide("r", decide)

        together([count] * WIDTH)
        assert (run_of(persistence).group_no, run_of(persistence).event_seq) == (1 + WIDTH, 1 + WIDTH)
        check_events(persistence)

    @pytest.mark.parametrize("_round", ROUNDS)
    def test_increments_and_events_of_all_are_counted(self, persistence: Persistence, _round: int) -> None:
        applied(persistence, begun("a"))
        raised = RunUpdate(ids=("r",), add={"version": 1})
        wanted = [changes(run=raised, events=(an_event(),) * 3, seconds=seconds) for seconds in range(WIDTH)]
        assert all(write_all(persistence, wanted))
        assert (run_of(persistence).version, run_of(persistence).event_seq) == (1 + WIDTH, 1 + 3 * WIDTH)
        assert run_of(persistence).last_event_at == at(WIDTH - 1)
        check_events(persistence)

    @pytest.mark.parametrize("_round", ROUNDS)
    def test_a_finish_and_a_cancel_never_both_win(self, persistence: Persistence, _round: int) -> None:
        begin(persistence, "a")
        ended = RunUpdate(ids=("r",), set={"status": RunStatus.COMPLETED}, expect={"status": RunStatus.RUNNING})
        finished, cancelled = write_all(persistence, [completes("a", "a", run=ended), cancels("a")])
        assert finished is not cancelled
        assert run_of(persistence).status is (RunStatus.COMPLETED if finished else RunStatus.CANCELLED)
        assert ("stage:completed" in told(persistence)) is finished
        check_events(persistence)

    @pytest.mark.parametrize("_round", ROUNDS)
    def test_a_claim_and_a_cancel_leave_nothing_running(self, persistence: Persistence, _round: int) -> None:
        applied(persistence, begun("a", "b"))
        works: list[Callable[[], object]] = [
            partial(persistence.claim, claim()),
            partial(persistence.write, cancels("a", "b")),
            partial(persistence.claim, claim_any("u")),
        ]
        together(works)
        rows = everything(persistence, "r")
        assert not {row["status"] for row in rows["jobs"]} & OPEN_JOBS
        assert not {row["status"] for row in rows["stages"]} & OPEN_STAGES
        check_events(persistence)

    @pytest.mark.parametrize("_round", ROUNDS)
    def test_the_same_finish_at_the_same_time_is_written_once(self, persistence: Persistence, _round: int) -> None:
        begin(persistence, "a", "b")
        assert sum(write_all(persistence, [completes("a", "a", run=one_less())] * WIDTH)) == 1
        assert (run_of(persistence).group_open, told(persistence).count("stage:completed")) == (1, 1)

    @pytest.mark.parametrize("_round", ROUNDS)
    def test_one_of_many_creations_under_one_key_wins(self, persistence: Persistence, _round: int) -> None:
        wanted = [begun("a", run_id=f"r{number}", key=a_key(result={"run": f"r{number}"})) for number in range(WIDTH)]
        won = write_all(persistence, wanted)
        assert won.count(True) == 1
        key = persistence.read(lambda tx: tx.keys.find("", "run.create", "k"))
        assert key == a_key(result={"run": f"r{won.index(True)}"})
        found = [persistence.read(partial(_find_run, number)) for number in range(WIDTH)]
        assert [run is not None for run in found] == won

    @pytest.mark.parametrize("_round", ROUNDS)
    def test_events_are_claimed_by_one_flusher(self, persistence: Persistence, _round: int) -> None:
        applied(persistence, begun("a"))

        def flush(token: str) -> int:
            return len(persistence.transact(lambda tx: tx.outbox.claim("r", token=token, seconds=60, limit=9)))

        assert sorted(together([partial(flush, str(name)) for name in range(WIDTH)])) == [0] * (WIDTH - 1) + [1]

    @pytest.mark.parametrize("_round", ROUNDS)
    def test_a_suspended_stage_is_polled_by_one(self, persistence: Persistence, _round: int) -> None:
        applied(persistence, begun("a"))
        set_stage(persistence, status=StageStatus.SUSPENDED)

        def poll(token: str) -> bool:
            return persistence.transact(
                lambda tx: tx.stages.claim_poll("r.a", token=token, now=at(1), until=at(9)) is not None
            )

        assert sum(together([partial(poll, str(name)) for name in range(WIDTH)])) == 1


def _find_run(number: int, tx: Tx) -> RunRecord | None:
    return tx.runs.find(f"r{number}")
