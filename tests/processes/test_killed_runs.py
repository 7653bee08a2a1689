"""A run's process dies by SIGKILL at any point; another picks the run up at once and loses nothing."""

import random
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engine.domain.lifecycle import ENDED_RUNS, RunStatus, StageStatus
from engine.domain.records import OutboxRecord
from tests.processes.engine_process import EngineHome, HomeReads, kill, wait_until

PICK_UP_SECONDS = 5.0
"""The promised limit. On an idle machine it takes about one second, mostly for the start of the next process."""

LONGEST_BEFORE_KILL = 1.0
"""About as long as the run of `slow` takes from its first stage on."""

ENDINGS = ("stage:completed", "stage:failed", "workflow:completed", "workflow:failed")
EVERY_STAGE_ONCE = Counter(
    [
        *(("stage:completed", stage) for stage in ("first", "second", "left", "right", "join")),
        ("workflow:completed", None),
    ]
)


@pytest.mark.failure(29)
@pytest.mark.parametrize("kill_number", range(20))
def test_a_run_killed_at_a_random_point_is_finished_by_the_next_process(kill_number: int, tmp_path: Path) -> None:
    home, marks = EngineHome(tmp_path), tmp_path / "marks"
    process = home.start("run", "slow", "--input", f'{{"marks": "{marks}"}}')
    wait_until(marks.exists, "the first stage's start")
    time.sleep(random.Random(kill_number).uniform(0, LONGEST_BEFORE_KILL))
    kill(process)
    with home.reads() as reads:
        (run,) = reads.runs_of_home()
        killed_at = datetime.now(UTC)
        if run.status not in ENDED_RUNS:
            _finish(home, reads, run.id, by_worker=bool(kill_number % 2))
            _assert_picked_up_in_time(reads.events(run.id), killed_at)
        after = reads.run(run.id).run
        assert after.status is RunStatus.COMPLETED
        assert reads.value(after.output)["done"] == ["first", "second", "left", "right", "join"]
        _assert_one_outcome_each(reads.events(run.id))


def _finish(home: EngineHome, reads: HomeReads, run_id: str, *, by_worker: bool) -> None:
    process = home.start("worker", "--slots", "2") if by_worker else home.start("run", "--resume", run_id)
    try:
        wait_until(lambda: reads.run(run_id).run.status in ENDED_RUNS, "the run's end")
    finally:
        process.terminate()
        process.communicate()


def _assert_picked_up_in_time(events: Sequence[OutboxRecord], killed_at: datetime) -> None:
    first = next(event for event in events if event.occurred_at > killed_at)
    assert (first.occurred_at - killed_at).total_seconds() < PICK_UP_SECONDS


def _assert_one_outcome_each(events: Sequence[OutboxRecord]) -> None:
    endings = (event for event in events if event.event_type in ENDINGS)
    assert Counter((event.event_type, event.payload.get("stage_id")) for event in endings) == EVERY_STAGE_ONCE
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))


def test_a_batch_provider_survives_the_kill_and_its_result_is_used(tmp_path: Path) -> None:
    """The run is killed while its stage waits; the provider is a process of its own and goes on."""
    home = EngineHome(tmp_path, registry="functions.workflows.registry:WORKFLOWS")
    process = home.start("run", "nightly-batch", "--config", '{"embed-batch": {"seconds": 3, "poll_interval": 0.5}}')
    with home.reads() as reads:
        wait_until(lambda: _is_suspended(reads), "the suspension")
        kill(process)
        (run,) = reads.runs_of_home()
        assert reads.run(run.id).run.status is RunStatus.RUNNING
        home.call("run", "--resume")
        view = reads.run(run.id)
        assert view.run.status is RunStatus.COMPLETED
        assert [job.attempt for job in view.jobs] == [1, 1, 1]
        submitted = [event for event in reads.events(run.id) if event.event_type == "stage:suspended"]
        assert len(submitted) == 1


def _is_suspended(reads: HomeReads) -> bool:
    runs = reads.runs_of_home()
    return bool(runs) and any(stage.status is StageStatus.SUSPENDED for stage in reads.run(runs[0].id).stages)
