"""How a worker takes a job: the reference for every store."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from engine.domain.events import StageStarted
from engine.domain.lifecycle import Status, check_move
from engine.domain.records import JobRecord, RunRecord, StageRecord
from engine.domain.stored_value import StoredValue
from engine.kernel.apply_guards import find_stage, lease_ran_out
from engine.kernel.apply_rows import leased
from engine.ports.persistence import Claim, ClaimRequest, NoClaim
from engine.ports.transaction import Tx

_FIRST_LOOK = 8
_STARTABLE = frozenset({Status.PENDING, Status.FAILED, Status.SUSPENDED, Status.RUNNING})


def claim_job(tx: Tx, request: ClaimRequest) -> Claim | NoClaim:
    if request.job_id is not None:
        return _try(tx, request, request.job_id)
    for job in _due(tx, request):
        claim = _try(tx, request, job.id)
        if isinstance(claim, Claim):
            return claim
    return NoClaim()


def _due(tx: Tx, request: ClaimRequest) -> Iterator[JobRecord]:
    if request.run_id is None:
        yield from _due_in_pools(tx, request.pools)
        return
    now = tx.now()
    mine = [
        job
        for job in tx.jobs.of_run(request.run_id)
        if job.pool in request.pools and job.status is Status.PENDING and job.due_at <= now
    ]
    yield from sorted(mine, key=lambda job: (-job.priority, job.due_at, job.id))


def _due_in_pools(tx: Tx, pools: tuple[str, ...]) -> Iterator[JobRecord]:
    """Looks further only when the most urgent ones could not be had."""
    limit, seen = _FIRST_LOOK, 0
    while True:
        jobs = tx.jobs.due(pools, limit)
        yield from jobs[seen:]
        if len(jobs) < limit:
            return
        limit, seen = limit * 8, limit


def _try(tx: Tx, request: ClaimRequest, job_id: str) -> Claim | NoClaim:
    wanted = tx.jobs.find(job_id)
    run = tx.runs.lock(wanted.workflow_run_id) if wanted else None
    if run is None or run.status is not Status.RUNNING or run.failure_code is not None:
        return NoClaim()
    job = tx.jobs.get(job_id)
    stage = find_stage(tx, job.stage_record_id)
    if stage is None or stage.status not in _STARTABLE:
        return NoClaim()
    if job.status is Status.RUNNING and job.lease_token == request.lease.token:
        return _renewed(tx, request, run, stage, job)
    if not _claimable(tx, job):
        return NoClaim(later_at=_later(job))
    return _started(tx, request, run, stage, job)


def _claimable(tx: Tx, job: JobRecord) -> bool:
    if job.status is Status.PENDING:
        return job.due_at <= tx.now()
    return job.status is Status.RUNNING and lease_ran_out(tx, job) and job.attempt < job.max_attempts


def _later(job: JobRecord) -> datetime | None:
    if job.status is Status.PENDING:
        return job.due_at
    may_be_taken_over = job.status is Status.RUNNING and job.attempt < job.max_attempts
    return job.lease_until if may_be_taken_over else None


def _renewed(tx: Tx, request: ClaimRequest, run: RunRecord, stage: StageRecord, job: JobRecord) -> Claim:
    """The same claim once more, its first answer having been lost: only the lease is extended."""
    until = tx.now() + timedelta(seconds=request.lease.seconds)
    held = tx.jobs.update(job.id, {"lease_until": until, "updated_at": request.at})
    return Claim(run=run, stage=stage, job=held, previous=_previous(tx, stage))


def _started(tx: Tx, request: ClaimRequest, run: RunRecord, stage: StageRecord, job: JobRecord) -> Claim:
    held = leased(job, request.lease, tx.now())
    check_move("job", job.status, held.status)
    check_move("stage", stage.status, Status.RUNNING)
    event = StageStarted(
        timestamp=request.at,
        workflow_run_id=run.id,
        workflow_id=run.workflow_id,
        stage_id=stage.stage_id,
        stage_name=stage.stage_name,
        stage_number=stage.stage_number,
        generation=stage.generation,
        attempt=held.attempt,
    )
    sequence = run.event_seq + 1
    claim = Claim(
        run=tx.runs.update(run.id, {"event_seq": sequence, "updated_at": request.at}),
        stage=tx.stages.update(stage.id, _running(request.at)),
        job=tx.jobs.update(job.id, _held(held, request.at)),
        previous=_previous(tx, stage),
    )
    tx.outbox.append(run.id, sequence, [event], None)
    return claim


def _running(at: datetime) -> Mapping[str, object]:
    return {
        "status": Status.RUNNING,
        "started_at": at,
        "completed_at": None,
        "duration_ms": None,
        "updated_at": at,
    }


def _held(job: JobRecord, at: datetime) -> Mapping[str, object]:
    held = replace(job, updated_at=at)
    columns = ("status", "attempt", "worker_id", "lease_token", "lease_until", "updated_at")
    return {name: getattr(held, name) for name in columns}


def _previous(tx: Tx, stage: StageRecord) -> Mapping[str, StoredValue]:
    before = [each for each in tx.stages.of_run(stage.workflow_run_id) if each.execution_group < stage.execution_group]
    last = max((each.execution_group for each in before), default=0)
    return {
        each.stage_id: each.output_data
        for each in before
        if each.execution_group == last and each.status is Status.COMPLETED and each.output_data is not None
    }
