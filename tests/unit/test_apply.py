"""The pure parts of the reference; what it does to rows is told by the persistence contract."""

from dataclasses import replace

import pytest

from engine.adapters.memory.persistence import InMemoryPersistence
from engine.domain.errors import InvalidTransition
from engine.domain.lifecycle import ENDED_RUNS, JobStatus, StageStatus
from engine.kernel.apply_guards import LEFT_BY_HOLDER
from engine.kernel.apply_rows import RunDraft, leased
from engine.testing.clock import FakeClock
from engine.testing.contracts.reading import job_of, run_of
from engine.testing.contracts.rows import a_job, a_lease, a_run, at, begun, claim, completes


def test_a_repeat_is_only_found_where_the_change_can_have_led() -> None:
    for to, found in LEFT_BY_HOLDER.items():
        reachable = {to} | (JOB_MOVES.get(to, frozenset()) - {StageStatus.RUNNING})
        assert to in found
        assert found <= reachable | ENDED_RUNS


def test_a_heartbeat_is_never_a_repeat() -> None:
    assert StageStatus.RUNNING not in LEFT_BY_HOLDER


def test_a_draft_changes_only_the_columns_that_differ() -> None:
    draft = RunDraft.of(a_run(), {"priority": 5, "tenant": "acme"})
    draft.spend(0.5, 2)
    assert draft.changes() == {"tenant": "acme", "total_cost": 0.5, "total_tokens": 2}


def test_a_draft_moves_only_as_the_table_allows() -> None:
    with pytest.raises(InvalidTransition):
        RunDraft.of(a_run(status=StageStatus.CANCELLED), {"status": StageStatus.RUNNING})


def test_a_lease_counts_the_attempt() -> None:
    held = leased(a_job(attempt=1), a_lease("t", 9), at(1))
    assert held == a_job(status=JobStatus.RUNNING, attempt=2, worker_id="worker of t", lease_token="t", lease_until=at(10))


def test_a_write_set_that_raises_half_way_is_undone() -> None:
    persistence = InMemoryPersistence(FakeClock())
    persistence.apply(begun("a"))
    persistence.claim(claim())
    before = (run_of(persistence), job_of(persistence))
    broken = replace(completes(), then=None, run={"no such column": 1})
    with pytest.raises(TypeError):
        persistence.apply(broken)
    assert (run_of(persistence), job_of(persistence)) == before
