"""Snapshots of runs to decide from, and the rows that a decision leaves of them."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from engine import Workflow
from engine.domain.lifecycle import OPEN_JOBS, JobStatus, StageStatus
from engine.domain.records import JobRecord, RunRecord, StageRecord
from engine.domain.values import inline
from engine.ports.changes import PASSED, AtLeast, Changes, Check, Condition, Delete, FromNow, Insert, Refused, Write
from engine.testing import FixedIds
from engine.testing.contracts.rows import a_job, a_run, a_stage, at, held
from engine.transitions.context import DecisionContext
from engine.transitions.facts import Completed, Failed, Outcome, Suspended
from engine.transitions.finish_stage import StageFinish, finish_stage, needs_whole_run
from engine.transitions.snapshots import RunSnapshot, StageSnapshot
from tests.kernel.workflows import pipeline, stage

type AnyWorkflow = Workflow[Any, Any]

NOW = at(1000)
"""The time on the store's clock. The kernel's is that of the context, ten seconds after the run was created."""

RETRY = "RETRY"
"""The stage FAILED, and its job is PENDING again."""

LOST = "LOST"
"""The stage is PENDING and has no job."""


def a_context(**fields: Any) -> DecisionContext:
    return DecisionContext(**{"at": at(10), "ids": FixedIds(), "trace": "00-1-2-03", **fields})


def straight(*stage_ids: str, **options: Any) -> AnyWorkflow:
    return pipeline(*(stage(stage_id, **options) for stage_id in stage_ids))


def wide(*stage_ids: str, then: str | None = None) -> AnyWorkflow:
    """A group of those stages, and one stage after it."""
    group = [stage(stage_id) for stage_id in stage_ids]
    return pipeline(group, stage(then)) if then else pipeline(group)


def a_snapshot(workflow: AnyWorkflow, run: Any = None, **states: str) -> RunSnapshot:
    """A RUNNING run whose stages are in these states, each with a job to match. Columns of `run` replace its own.

    The job of a RUNNING stage is held under the stage's id as its token.
    """
    stages = [_stage(workflow, stage_id, state) for stage_id, state in states.items()]
    jobs = [_job(stage_id, state) for stage_id, state in states.items() if state != LOST]
    group_no = max((record.execution_group for record in stages), default=0)
    current = {record.id for record in stages if record.execution_group == group_no}
    lost = sum(state == LOST for state in states.values())
    group_open = lost + sum(job.status in OPEN_JOBS and job.stage_record_id in current for job in jobs)
    record = a_run(**{"group_no": group_no, "group_open": group_open, **(run or {})})
    return RunSnapshot(record, stages, jobs)


def _stage(workflow: AnyWorkflow, stage_id: str, state: str) -> StageRecord:
    status = {RETRY: StageStatus.FAILED, LOST: StageStatus.PENDING}.get(state) or StageStatus(state)
    columns: dict[str, Any] = {
        "status": status,
        "stage_number": workflow.get_stage_index(stage_id) + 1,
        "execution_group": workflow.get_execution_group_index(stage_id),
    }
    match status:
        case StageStatus.COMPLETED:
            columns |= {"output_data": inline(f"out of {stage_id}"), "started_at": at(1), "completed_at": at(2)}
        case StageStatus.FAILED:
            columns |= {"error_code": "BROKEN", "error_message": f"{stage_id} broke", "started_at": at(1)}
        case StageStatus.RUNNING:
            columns |= {"started_at": at(1)}
        case StageStatus.SUSPENDED:
            columns |= {"started_at": at(1), "next_poll_at": at(9), "poll_token": "poll", "poll_until": at(60)}
        case _:
            pass
    return a_stage(stage_id, **columns)


def _job(stage_id: str, state: str) -> JobRecord:
    status = JobStatus.PENDING if state == RETRY else JobStatus(state)
    match status:
        case JobStatus.PENDING:
            return a_job(stage_id, attempt=1 if state == RETRY else 0)
        case JobStatus.RUNNING:
            return a_job(stage_id, attempt=1, **held(stage_id))
        case _:
            return a_job(stage_id, attempt=1, status=status, lease_token=stage_id, worker_id=f"worker of {stage_id}")


def of_stage(snapshot: RunSnapshot, stage_id: str, *, whole: bool = True) -> StageSnapshot:
    return StageSnapshot(
        run=snapshot.run,
        stage=stage_in(snapshot, stage_id),
        job=job_in(snapshot, stage_id),
        whole=snapshot if whole else None,
    )


def stage_in(snapshot: RunSnapshot, stage_id: str) -> StageRecord:
    (found,) = [record for record in snapshot.stages if record.stage_id == stage_id]
    return found


def job_in(snapshot: RunSnapshot, stage_id: str) -> JobRecord:
    """The stage's latest job."""
    return [job for job in snapshot.jobs if job.stage_id == stage_id][-1]


def with_job(snapshot: RunSnapshot, stage_id: str, **columns: Any) -> RunSnapshot:
    jobs = [replace(job, **columns) if job.stage_id == stage_id else job for job in snapshot.jobs]
    return replace(snapshot, jobs=jobs)


def with_stage(snapshot: RunSnapshot, stage_id: str, **columns: Any) -> RunSnapshot:
    stages = [replace(record, **columns) if record.stage_id == stage_id else record for record in snapshot.stages]
    return replace(snapshot, stages=stages)


def decided(answer: Changes | Refused) -> Changes:
    assert isinstance(answer, Changes), answer
    return answer


def after(snapshot: RunSnapshot, answer: Changes | Refused) -> RunSnapshot:
    """The run as the changes leave it. Their conditions must hold for the rows they were decided from."""
    rows: dict[str, Any] = {snapshot.run.id: snapshot.run}
    rows |= {record.id: record for record in snapshot.stages}
    rows |= {job.id: job for job in snapshot.jobs}
    for step in decided(answer).steps():
        _take(step, rows)
    return _snapshot_of(rows)


def created(changes: Changes) -> RunSnapshot:
    """The run that the changes create."""
    rows: dict[str, Any] = {}
    for step in changes.steps():
        _take(step, rows)
    return _snapshot_of(rows)


def _snapshot_of(rows: Mapping[str, Any]) -> RunSnapshot:
    (run,) = [row for row in rows.values() if isinstance(row, RunRecord)]
    stages = [row for row in rows.values() if isinstance(row, StageRecord)]
    jobs = [row for row in rows.values() if isinstance(row, JobRecord)]
    return RunSnapshot(run, sorted(stages, key=lambda stage: (stage.execution_group, stage.stage_number)), jobs)


def _take(step: Write, rows: dict[str, Any]) -> None:
    match step:
        case Insert():
            times: Any = {name: NOW + timedelta(seconds=seconds) for name, seconds in step.from_now.items()}
            new = {getattr(row, "id", "key"): replace(row, **times) for row in step.rows}
            assert len(new) == len(step.rows)
            assert not new.keys() & rows.keys(), "a row is inserted twice"
            rows |= new
        case Delete():
            for row_id in step.ids:
                del rows[row_id]
        case Check():
            _check(rows[step.id], step.expect)
        case _:
            for row_id in step.ids:
                row = rows[row_id]
                _check(row, step.expect)
                values = {name: _value(value) for name, value in step.set.items()}
                values |= {name: getattr(row, name) + value for name, value in step.add.items()}
                values |= dict(step.latest)
                rows[row_id] = replace(row, **values)


def _value(value: object) -> object:
    return NOW + timedelta(seconds=value.seconds) if isinstance(value, FromNow) else value


def _check(row: object, expect: Condition) -> None:
    for name, wanted in expect.items():
        value = getattr(row, name)
        match wanted:
            case AtLeast(least):
                assert value >= least, (name, value, least)
            case frozenset():
                assert value in wanted, (name, value, wanted)
            case _ if wanted is PASSED:
                assert isinstance(value, datetime), (name, value)
            case _:
                assert value == wanted, (name, value, wanted)


def states(snapshot: RunSnapshot) -> dict[str, str]:
    """The statuses of each stage and its latest job, as in "FAILED PENDING"."""
    return {record.stage_id: f"{record.status} {_status_of_job(snapshot, record)}" for record in snapshot.stages}


def _status_of_job(snapshot: RunSnapshot, record: StageRecord) -> str:
    jobs = [job.status for job in snapshot.jobs if job.stage_record_id == record.id]
    return jobs[-1] if jobs else "none"


def told(answer: Changes | Refused) -> list[str]:
    return [event.type for event in decided(answer).events]


def last_event(answer: Changes | Refused) -> Mapping[str, Any]:
    return decided(answer).events[-1].payload()


def condition_of_run(answer: Changes | Refused) -> Condition:
    run = decided(answer).run
    assert run is not None
    assert not isinstance(run, Insert)
    return run.expect


def completes(stage_id: str, **fields: Any) -> Completed:
    return Completed(**{"output": inline(f"out of {stage_id}"), **fields})


def fails(stage_id: str, *, retry_in: float | None = None) -> Failed:
    return Failed(code="BROKEN", message=f"{stage_id} broke", trace="line 1", retry_in=retry_in)


def suspends() -> Suspended:
    return Suspended(
        state={"batch": 7}, next_poll_at=at(60), poll_interval_s=30.0, max_wait_until=at(600), metrics={"asked": 1}
    )


def finish(
    snapshot: RunSnapshot, workflow: AnyWorkflow | None, stage_id: str, outcome: Outcome, **fields: Any
) -> Changes | Refused:
    """Decides with the whole run only where that is needed. The stage's id is the token unless another is given."""
    fact = StageFinish(**{"outcome": outcome, "token": stage_id, "workflow": workflow, **fields})
    alone = of_stage(snapshot, stage_id, whole=False)
    known = of_stage(snapshot, stage_id) if needs_whole_run(alone, fact) else alone
    return finish_stage(known, fact, a_context())
