"""The start of an execution group: a stage record and a job for each stage."""

from dataclasses import dataclass, replace
from typing import Any

from engine.definition.stage import Stage
from engine.definition.workflow import Workflow
from engine.domain.ai_calls import Spent
from engine.domain.events import Event, StageStarted
from engine.domain.lifecycle import OPEN_STAGES, JobStatus, StageStatus
from engine.domain.records import JobRecord, RunRecord, StageRecord
from engine.ports.changes import Insert, Write
from engine.ports.persistence import Lease
from engine.transitions.context import DecisionContext
from engine.transitions.snapshots import RunSnapshot

SECONDS_PER_PRIORITY = 60.0
"""The time that one step of priority is worth in the queue. A bounded advantage starves no job."""


@dataclass(frozen=True, slots=True)
class Opening:
    """The rows of the group, and the number of its open stages."""

    group_no: int
    open: int
    writes: tuple[Write, ...]
    events: tuple[Event, ...] = ()


def open_group(
    workflow: Workflow[Any, Any],
    run: RunRecord,
    group_no: int,
    context: DecisionContext,
    *,
    generation: int = 0,
    lease: Lease | None = None,
    whole: RunSnapshot | None = None,
) -> Opening:
    """Creates all stages of the group, PENDING, with a job each. With `lease`, a group of one stage starts RUNNING.

    Stage records that exist already (in `whole`) are kept; a PENDING one without a job gets a job.
    """
    stages = workflow.group(group_no)
    present = (
        {record.stage_id: record for record in whole.stages if record.execution_group == group_no} if whole else {}
    )
    records = {
        stage.id: present.get(stage.id) or _record(workflow, run, stage, context, generation) for stage in stages
    }
    new = tuple(records[stage.id] for stage in stages if stage.id not in present)
    idle = [stage for stage in stages if _waits_without_job(records[stage.id], whole)]
    jobs = tuple(new_job(stage, records[stage.id], run.priority, context) for stage in idle)
    if lease is not None and len(stages) == len(new) == 1:
        return Opening(group_no, 1, *_claimed(run, new[0], jobs[0], lease, context))
    still_open = sum(record.status in OPEN_STAGES for record in records.values())
    return Opening(group_no, still_open, (*_inserts(new), *insert_jobs(jobs)))


def _waits_without_job(record: StageRecord, whole: RunSnapshot | None) -> bool:
    return record.status is StageStatus.PENDING and (whole is None or whole.job_of(record) is None)


def _inserts(records: tuple[StageRecord, ...]) -> tuple[Write, ...]:
    return (Insert(rows=records),) if records else ()


def insert_jobs(jobs: tuple[JobRecord, ...]) -> tuple[Write, ...]:
    """PENDING jobs of one run, due now on the store's clock."""
    return (Insert(rows=jobs, from_now=due(jobs[0].priority)),) if jobs else ()


def due(priority: int, seconds: float = 0.0) -> dict[str, float]:
    """Due time and rank, in seconds from now. The rank is `priority` minutes before the due time."""
    return {"due_at": seconds, "rank": seconds - priority * SECONDS_PER_PRIORITY}


def _record(
    workflow: Workflow[Any, Any],
    run: RunRecord,
    stage: Stage[Any, Any, Any],
    context: DecisionContext,
    generation: int,
) -> StageRecord:
    spent = context.spent.get(stage.id, Spent())
    return StageRecord(
        id=context.ids.new(),
        workflow_run_id=run.id,
        stage_id=stage.id,
        stage_name=stage.name,
        stage_number=workflow.get_stage_index(stage.id) + 1,
        execution_group=workflow.get_execution_group_index(stage.id),
        status=StageStatus.PENDING,
        created_at=context.at,
        updated_at=context.at,
        generation=generation,
        config=run.config.get(stage.id, {}),
        total_cost=spent.cost,
        total_tokens=spent.tokens,
    )


def new_job(stage: Stage[Any, Any, Any], record: StageRecord, priority: int, context: DecisionContext) -> JobRecord:
    """`due_at` and `rank` are placeholders: the insert sets them by the store's clock."""
    return JobRecord(
        id=context.ids.new(),
        workflow_run_id=record.workflow_run_id,
        stage_record_id=record.id,
        stage_id=stage.id,
        pool=stage.pool,
        status=JobStatus.PENDING,
        due_at=context.at,
        rank=context.at,
        created_at=context.at,
        updated_at=context.at,
        priority=priority,
        max_attempts=stage.retry.max_attempts,
        trace_context=context.trace,
    )


def _claimed(
    run: RunRecord, record: StageRecord, job: JobRecord, lease: Lease, context: DecisionContext
) -> tuple[tuple[Write, ...], tuple[Event, ...]]:
    """A continuation: the worker of the previous group claims the only stage of this one."""
    running = replace(record, status=StageStatus.RUNNING, started_at=context.at)
    held = replace(job, status=JobStatus.RUNNING, attempt=1, worker_id=lease.worker_id, lease_token=lease.token)
    times = {**due(job.priority), "lease_until": lease.seconds}
    writes = (Insert(rows=(running,)), Insert(rows=(held,), from_now=times))
    return writes, (StageStarted.of(run, running, context.at, attempt=held.attempt),)
