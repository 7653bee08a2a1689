"""The invariants of a run, checked on its rows and events."""

from collections import Counter
from collections.abc import Iterable, Sequence

from engine.domain.lifecycle import ENDED_RUNS, OPEN_JOBS, OPEN_STAGES, JobStatus, RunStatus, StageStatus
from engine.domain.records import JobRecord, OutboxRecord, StageRecord
from engine.ports.reads import RunView
from tests.kernel.bench import Bench

END_OF = {
    RunStatus.COMPLETED: "workflow:completed",
    RunStatus.FAILED: "workflow:failed",
    RunStatus.CANCELLED: "workflow:cancelled",
}


def check_rows(view: RunView) -> None:
    run = view.run
    rows: list[StageRecord | JobRecord] = [*view.stages, *view.jobs]
    open_rows = [row for row in rows if row.status in {*OPEN_STAGES, *OPEN_JOBS}]
    if run.status in ENDED_RUNS:
        assert open_rows == [], "a terminal run has nothing open"
        assert run.completed_at is not None
        return
    assert run.failure_code != "STUCK_RUN_REAPED", "nothing gets stuck"
    if run.status is RunStatus.PENDING:
        assert (list(view.stages), list(view.jobs)) == ([], [])
        return
    group = [stage for stage in view.stages if stage.execution_group == run.group_no]
    assert run.group_open == len([stage for stage in group if _open_jobs(stage, view.jobs)])
    assert run.group_open > 0, "a RUNNING run has something that will move it"
    for stage in view.stages:
        _check_stage(stage, _open_jobs(stage, view.jobs))


def _open_jobs(stage: StageRecord, jobs: Iterable[JobRecord]) -> list[JobRecord]:
    return [job for job in jobs if job.stage_record_id == stage.id and job.status in OPEN_JOBS]


def _check_stage(stage: StageRecord, jobs: Sequence[JobRecord]) -> None:
    """Checks that every open stage has exactly one open job."""
    statuses = [job.status for job in jobs]
    match stage.status:
        case StageStatus.PENDING | StageStatus.RUNNING | StageStatus.SUSPENDED:
            assert [str(status) for status in statuses] == [str(stage.status)]
        case StageStatus.FAILED:
            assert statuses in ([], [JobStatus.PENDING])
        case _:
            assert statuses == []
    for job in jobs:
        assert (job.lease_until is not None) is (job.status is JobStatus.RUNNING)
    assert (stage.status is StageStatus.COMPLETED) is (stage.output_data is not None)
    assert stage.status is not StageStatus.SUSPENDED or stage.next_poll_at is not None


def check_events(bench: Bench, view: RunView) -> None:
    events = bench.reads.events(view.run.id)
    assert [event.sequence for event in events] == list(range(1, view.run.event_seq + 1)), "gapless"
    completed = Counter(
        (event.payload["stage_id"], event.payload["generation"])
        for event in events
        if event.event_type == "stage:completed"
    )
    assert all(times == 1 for times in completed.values()), "one completion for each generation of a stage"
    lives = _lives(events)
    for life in lives[:-1]:
        assert _ends(life) == 1, "a run is begun again only after its end"
    assert _ends(lives[-1]) == (view.run.status in ENDED_RUNS)
    if view.run.status in ENDED_RUNS:
        last = [event.event_type for event in lives[-1] if event.event_type != "annotation:created"][-1]
        assert last == END_OF[view.run.status], "nothing follows the end of a run"


def _lives(events: Sequence[OutboxRecord]) -> list[list[OutboxRecord]]:
    """The events up to the first rerun, then of each rerun."""
    lives: list[list[OutboxRecord]] = [[]]
    for event in events:
        if event.payload.get("from_stage_id") is not None:
            lives.append([])
        lives[-1].append(event)
    return lives


def _ends(life: Sequence[OutboxRecord]) -> int:
    return sum(event.event_type in END_OF.values() for event in life)
