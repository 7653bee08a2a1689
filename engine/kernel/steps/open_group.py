"""The records and jobs of an execution group that begins."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Self

from engine.definition.stage import Stage
from engine.definition.workflow import Workflow
from engine.domain.ai_calls import Spent
from engine.domain.events import StageStarted
from engine.domain.lifecycle import Status
from engine.domain.records import JobRecord, RunRecord, StageRecord
from engine.domain.stored_value import StoredValue, by_stage
from engine.ports.clock import Clock
from engine.ports.ids import Ids
from engine.ports.job_transport import JobNotification
from engine.ports.persistence import Claim
from engine.ports.write_set import JobDraft, Lease, OpenGroup


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionContext:
    """The one time a step happens at, where its ids come from, the trace that its jobs carry on, and what stages have
    spent in earlier generations, by id."""

    at: datetime
    ids: Ids
    trace: str | None = None
    spent: Mapping[str, Spent] = field(default_factory=dict)

    @classmethod
    def of(cls, clock: Clock, ids: Ids, *, trace: str | None = None, spent: Mapping[str, Spent] | None = None) -> Self:
        return cls(at=clock.now(), ids=ids, trace=trace, spent=spent or {})


def open_group(
    workflow: Workflow[Any, Any], run: RunRecord, group_no: int, now: DecisionContext, *, generation: int = 0
) -> OpenGroup:
    """All stages of the group as PENDING records with one job each."""
    stages = tuple(_record(workflow, run, stage, now, generation) for stage in workflow.group(group_no))
    jobs = tuple(
        job_draft(stage, record, run.priority, now)
        for stage, record in zip(workflow.group(group_no), stages, strict=True)
    )
    return OpenGroup(group_no=group_no, stages=stages, jobs=jobs)


def _record(
    workflow: Workflow[Any, Any], run: RunRecord, stage: Stage[Any, Any, Any], now: DecisionContext, generation: int
) -> StageRecord:
    spent = now.spent.get(stage.id, Spent())
    return StageRecord(
        id=now.ids.new(),
        workflow_run_id=run.id,
        stage_id=stage.id,
        stage_name=stage.name,
        stage_number=workflow.get_stage_index(stage.id) + 1,
        execution_group=workflow.get_execution_group_index(stage.id),
        status=Status.PENDING,
        created_at=now.at,
        updated_at=now.at,
        generation=generation,
        config=run.config.get(stage.id, {}),
        total_cost=spent.cost,
        total_tokens=spent.tokens,
    )


def job_draft(stage: Stage[Any, Any, Any], record: StageRecord, priority: int, now: DecisionContext) -> JobDraft:
    return JobDraft(
        id=now.ids.new(),
        stage_record_id=record.id,
        stage_id=stage.id,
        pool=stage.pool,
        priority=priority,
        max_attempts=stage.retry.max_attempts,
        trace_context=now.trace,
    )


def with_lease(group: OpenGroup, lease: Lease, run: RunRecord, at: datetime) -> OpenGroup:
    """The same group of one, claimed as it opens: the continuation."""
    (record,) = group.stages
    started = StageStarted(
        timestamp=at,
        workflow_run_id=run.id,
        workflow_id=run.workflow_id,
        stage_id=record.stage_id,
        stage_name=record.stage_name,
        stage_number=record.stage_number,
        generation=record.generation,
    )
    return replace(group, lease=lease, events=(*group.events, started))


def claimed_group(group: OpenGroup, run: RunRecord, output: StoredValue, finished_stage: str, at: datetime) -> Claim:
    """What `Persistence.claim` would give for a group that was opened with a lease."""
    (record,), (draft,), lease = group.stages, group.jobs, group.lease
    assert lease is not None
    job = JobRecord(
        id=draft.id,
        workflow_run_id=run.id,
        stage_record_id=record.id,
        stage_id=draft.stage_id,
        pool=draft.pool,
        status=Status.RUNNING,
        due_at=at,
        created_at=at,
        updated_at=at,
        priority=draft.priority,
        attempt=1,
        max_attempts=draft.max_attempts,
        trace_context=draft.trace_context,
        worker_id=lease.worker_id,
        lease_token=lease.token,
    )
    return Claim(
        run=replace(run, group_no=group.group_no, group_open=1),
        stage=replace(record, status=Status.RUNNING, started_at=at),
        job=job,
        previous={finished_stage: output},
    )


def notifications_of(jobs: Sequence[JobDraft], run: RunRecord, *, delay: float = 0.0) -> tuple[JobNotification, ...]:
    return tuple(
        JobNotification(
            job_id=job.id,
            workflow_run_id=run.id,
            workflow_id=run.workflow_id,
            stage_id=job.stage_id,
            pool=job.pool,
            tenant=run.tenant,
            delay=delay,
        )
        for job in jobs
    )


def previous_output(previous: dict[str, StoredValue]) -> StoredValue:
    """The input of a later group: the single stage's output, or an object keyed by stage id."""
    if len(previous) == 1:
        return next(iter(previous.values()))
    return by_stage(previous)
