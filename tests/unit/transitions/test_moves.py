from dataclasses import replace
from typing import Any

import pytest

from engine.domain.errors import InvalidTransition
from engine.domain.lifecycle import JOB_MOVES, RUN_MOVES, STAGE_MOVES, JobStatus, RunStatus, StageStatus
from engine.ports.changes import JobUpdate, StageUpdate
from engine.testing.contracts.rows import a_job, a_run, a_stage, at, held
from engine.transitions.moves import cancel_rows, duration_ms, move_job, move_run, move_stage


@pytest.mark.parametrize("before", RunStatus)
@pytest.mark.parametrize("after", RunStatus)
def test_a_run_moves_as_its_table_allows(before: RunStatus, after: RunStatus) -> None:
    if after in {before, *RUN_MOVES[before]}:
        update = move_run(a_run(status=before), after)
        assert (update.set["status"], update.expect, update.add) == (after, {"status": before}, {"version": 1})
    else:
        with pytest.raises(InvalidTransition):
            move_run(a_run(status=before), after)


@pytest.mark.parametrize("before", StageStatus)
@pytest.mark.parametrize("after", StageStatus)
def test_a_stage_moves_as_its_table_allows(before: StageStatus, after: StageStatus) -> None:
    if after in {before, *STAGE_MOVES.get(before, frozenset())}:
        update = move_stage(a_stage(status=before), after)
        assert (update.set["status"], update.expect, update.add) == (after, {"status": before}, {"version": 1})
    else:
        with pytest.raises(InvalidTransition):
            move_stage(a_stage(status=before), after)


@pytest.mark.parametrize("before", JobStatus)
@pytest.mark.parametrize("after", JobStatus)
def test_a_job_moves_as_its_table_allows(before: JobStatus, after: JobStatus) -> None:
    if after in {before, *JOB_MOVES.get(before, frozenset())}:
        update = move_job(a_job(status=before), after)
        assert (update.set, update.expect, update.add) == ({"status": after}, {"status": before}, {})
    else:
        with pytest.raises(InvalidTransition):
            move_job(a_job(status=before), after)


def test_a_move_writes_its_patch_and_keeps_the_status_it_moves_to() -> None:
    patch: Any = {"status": StageStatus.PENDING, "error_code": "E"}
    update = move_stage(a_stage(status=StageStatus.RUNNING), StageStatus.FAILED, patch, expect={"poll_token": "p"})
    assert update.set == {"status": StageStatus.FAILED, "error_code": "E"}
    assert update.expect == {"status": StageStatus.RUNNING, "poll_token": "p"}


def test_cancelled_rows_keep_the_lease_and_lose_the_poll() -> None:
    stage = a_stage(status=StageStatus.SUSPENDED, poll_token="p", poll_until=at(9), next_poll_at=at(3))
    running = a_job(**held())
    of_stages, of_jobs = cancel_rows([stage], [running, a_job("b")], at(5))
    assert isinstance(of_stages, StageUpdate)
    assert isinstance(of_jobs, JobUpdate)
    assert replace(stage, **of_stages.set) == a_stage(status=StageStatus.CANCELLED, completed_at=at(5))
    assert (of_stages.ids, of_stages.add) == (("r.a",), {"version": 1})
    assert (of_jobs.ids, of_jobs.set) == (("r.a.job", "r.b.job"), {"status": JobStatus.CANCELLED})


def test_nothing_is_written_to_cancel_nothing() -> None:
    assert cancel_rows([], [], at(5)) == ()


@pytest.mark.parametrize("status", [StageStatus.COMPLETED, StageStatus.SKIPPED, StageStatus.FAILED])
def test_a_stage_that_has_ended_is_not_cancelled(status: StageStatus) -> None:
    with pytest.raises(InvalidTransition):
        cancel_rows([a_stage(status=status)], [], at(5))


@pytest.mark.parametrize("status", [JobStatus.COMPLETED, JobStatus.FAILED])
def test_a_job_that_has_ended_is_not_cancelled(status: JobStatus) -> None:
    with pytest.raises(InvalidTransition):
        cancel_rows([], [a_job(status=status)], at(5))


def test_a_duration_is_in_whole_milliseconds_and_never_negative() -> None:
    assert duration_ms(at(0), at(1.9999)) == 1999
    assert duration_ms(at(5), at(1)) == 0
    assert duration_ms(None, at(1)) is None
