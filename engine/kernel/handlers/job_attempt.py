"""The life of an attempt: claim, heartbeats, finish. `job.execute` is composed of the same parts.

The finish commits outcome, job, run, events, and the claim of the next stage for the same worker (continuation) at
once. It is first decided from the claimed rows, which costs one round trip. The race: while the body ran, a sibling has
finished, the run was cancelled, or the lease has expired and another worker holds the job. Then a condition of the
write fails and the store refuses it, and the finish is decided again from the current rows, under the run's lock. If
the commit succeeded and its answer was lost, the second decision finds the token on the job and answers `REPEAT`; the
jobs of the first decision are then notified of again."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from engine.definition.workflow import Workflow
from engine.domain.errors import EngineError, InvalidInput, StageTimeout, StoreBehind, StoreError, StoreUnavailable
from engine.domain.lifecycle import JobStatus, RunStatus, StageStatus
from engine.domain.records import JobRecord, KeyRecord, KeyState, StageRecord
from engine.execution.attempt import Attempt, new_attempt
from engine.execution.perform import failed_by, failure, perform
from engine.kernel.commands import JobExecute, JobExecuteResult, StagePollSuspended
from engine.kernel.deciding import decide_stage, earlier_spending, read_run
from engine.kernel.host_commands import (
    Finished,
    JobFinish,
    JobHeartbeat,
    JobRelease,
    JobStart,
    JobTimeout,
    LeaseState,
)
from engine.kernel.idempotency import acquire
from engine.kernel.leases import release_lease
from engine.kernel.notifying import notifications, notify, schedule_wakeup
from engine.ports.blob_store import load_value
from engine.ports.changes import Changes, Reason, Refused, Written
from engine.ports.deps import Deps
from engine.ports.persistence import Claim, ClaimRequest, Lease, NoClaim
from engine.transitions.annotations import needs_known
from engine.transitions.context import DecisionContext
from engine.transitions.facts import Completed, Failed, Ghost, Outcome, Suspended
from engine.transitions.finish_stage import StageFinish, finish_stage, is_alone, needs_whole_run
from engine.transitions.keep_lease import keep_lease
from engine.transitions.snapshots import RunSnapshot, StageSnapshot

LEASE_SECONDS = 300.0
CALLER = "job.execute"


def start(command: JobStart, deps: Deps) -> Attempt | NoClaim:
    lease = Lease(worker_id=command.worker_id, token=deps.ids.token(), seconds=command.lease_seconds)
    claim = deps.persistence.claim(
        ClaimRequest(
            lease=lease,
            at=deps.clock.now(),
            pools=command.pools,
            job_id=command.job_id,
            run_id=command.run_id,
        )
    )
    return new_attempt(claim, deps) if isinstance(claim, Claim) else claim


def heartbeat(command: JobHeartbeat, deps: Deps) -> LeaseState:
    """Renews the lease and writes what was recorded in one transaction. Sets the attempt's cancel flag."""
    attempt, context = command.attempt, DecisionContext.of(deps.clock, deps.ids)
    recorded = attempt.recorder.take()
    changes = keep_lease(attempt.claim, recorded, command.lease_seconds, context)
    try:
        written = deps.persistence.write(changes)
        state = LeaseState.HELD if isinstance(written, Written) else _lease_state(attempt, deps)
    except Exception:  # any error: the logs must not be lost; it is raised again
        attempt.recorder.undo_take(recorded)
        raise
    if state is not LeaseState.HELD:
        attempt.cancellation.cancelled = True
    return state


def _lease_state(attempt: Attempt, deps: Deps) -> LeaseState:
    """The reason why a heartbeat was refused."""
    run = deps.persistence.read(lambda tx: tx.runs.find(attempt.claim.run.id))
    if run is None or run.status is not RunStatus.RUNNING or run.failure_code is not None:
        return LeaseState.CANCELLED
    return LeaseState.LOST


def release(command: JobRelease, deps: Deps) -> bool:
    job = command.attempt.claim.job
    return release_lease(job, deps, expired=False, uncounted=True, seconds=command.seconds, reason=command.reason)


def timeout(command: JobTimeout, deps: Deps) -> bool:
    """False if the attempt had already ended."""
    snapshot = read_run(command.workflow_run_id, deps.persistence)
    if snapshot is None:
        return False
    job = next((job for job in snapshot.jobs if job.id == command.job_id), None)
    stage = next((stage for stage in snapshot.stages if job and stage.id == job.stage_record_id), None)
    if job is None or stage is None or job.status is not JobStatus.RUNNING or job.lease_token != command.lease_token:
        return False
    attempt = new_attempt(Claim(run=snapshot.run, stage=stage, job=job, previous={}), deps)
    workflow = deps.registry.get_workflow(snapshot.run.workflow_id)
    definition = workflow.get_stage(stage.stage_id) if workflow else None
    error = StageTimeout(f"stage {stage.stage_id!r} ran longer than its {command.seconds:g} s")
    outcome: Failed = failure(error, definition, attempt, deps) if definition else failed_by(error)
    finished = finish(JobFinish(attempt=attempt, outcome=outcome), deps)
    return not isinstance(finished.outcome, Ghost)


def finish(command: JobFinish, deps: Deps) -> Finished:
    """What the store refuses for good fails the stage with that cause. Raised, the error would cause a retry for ever.

    A `StoreError` can also come from a queue or scheduler after the commit. It is raised: the message of the next job
    must not be lost.
    """
    try:
        return _finish(command, deps)
    except (StoreUnavailable, StoreBehind):
        raise
    except (InvalidInput, StoreError) as error:
        if isinstance(error, StoreError) and _has_ended(command.attempt.claim.job, deps):
            raise
        attempt = new_attempt(command.attempt.claim, deps)
        return _finish(replace(command, attempt=attempt, outcome=failed_by(error)), deps)


def _has_ended(job: JobRecord, deps: Deps) -> bool:
    found = deps.persistence.read(lambda tx: tx.jobs.find(job.id))
    return found is not None and found.status not in {JobStatus.RUNNING, JobStatus.CANCELLED}


def _finish(command: JobFinish, deps: Deps) -> Finished:
    claim, attempt = command.attempt.claim, command.attempt
    workflow = deps.registry.get_workflow(claim.run.workflow_id)
    context = DecisionContext.of(
        deps.clock, deps.ids, trace=claim.job.trace_context, spent=earlier_spending(claim.stage, deps)
    )
    fact = StageFinish(
        outcome=command.outcome,
        token=attempt.token,
        workflow=workflow,
        recorded=attempt.recorder.take_all(),
        lease=_lease_of_next(command, workflow),
    )
    wakeup_at = _schedule_wakeups(command.outcome, claim, deps)
    finished = _commit(attempt, fact, context, deps)
    if wakeup_at is not None and wakeup_at <= deps.clock.now():
        # The wake-up may have arrived before this commit and found nothing to do.
        _schedule_wakeups(command.outcome, claim, deps)
    return finished


def _commit(attempt: Attempt, fact: StageFinish, context: DecisionContext, deps: Deps) -> Finished:
    claim = attempt.claim
    known = StageSnapshot(run=claim.run, stage=claim.stage, job=claim.job)
    whole = needs_whole_run(known, fact)
    first: Changes | Refused = Refused()
    written: Written | Refused = Refused()
    if not whole and not needs_known(fact.recorded.annotations):
        first = finish_stage(known, fact, context)
        written = deps.persistence.write(first) if isinstance(first, Changes) else first
    for with_all in (whole, True):
        # Refused without a reason: a condition failed, or a row to insert exists, which only the whole run shows.
        if isinstance(written, Refused) and written.reason is None:
            written = _decide(attempt, fact, context, deps, whole=with_all)
    if isinstance(written, Written):
        return _after_commit(attempt, fact, written, deps)
    if written.reason is Reason.REPEAT:
        return _after_lost_answer(attempt, fact, first, deps)
    return Finished(outcome=Ghost(f"{written.reason}: run {claim.run.id} stage {claim.stage.stage_id}"))


def _decide(
    attempt: Attempt, fact: StageFinish, context: DecisionContext, deps: Deps, *, whole: bool
) -> Written | Refused:
    return decide_stage(
        attempt.claim.job,
        lambda snapshot: finish_stage(snapshot, fact, context),
        deps,
        needs_whole_run=lambda snapshot: needs_whole_run(snapshot, fact),
        annotations=fact.recorded.annotations,
        whole=whole,
    )


def _lease_of_next(command: JobFinish, workflow: Workflow[Any, Any] | None) -> Lease | None:
    """The lease for a continuation: if the next group is one stage of the same pool, and time is left."""
    claim, group_no = command.attempt.claim, command.attempt.claim.stage.execution_group + 1
    if command.lease is None or workflow is None or not 1 < group_no <= workflow.group_count:
        return None
    group = workflow.group(group_no)
    if len(group) != 1 or group[0].pool != claim.job.pool or not command.may_start(group[0]):
        return None
    return command.lease


def _schedule_wakeups(outcome: Outcome, claim: Claim, deps: Deps) -> datetime | None:
    """Wake-ups of polls and retries are scheduled before the commit. Gives the time of the wake-up."""
    match outcome:
        case Suspended(next_poll_at=at):
            poll = StagePollSuspended(stage_record_id=claim.stage.id, workflow_run_id=claim.run.id, max_checks=1)
            deps.scheduler.wake(poll.model_dump(mode="json"), at)
        case Failed(retry_in=float() as delay):
            at = deps.clock.now() + timedelta(seconds=delay)
            schedule_wakeup(claim.run.id, at, deps)
        case _:
            return None
    return at


def _after_commit(attempt: Attempt, fact: StageFinish, written: Written, deps: Deps) -> Finished:
    jobs, run = written.changes.inserted(JobRecord), attempt.claim.run
    pending = [job for job in jobs if job.status is JobStatus.PENDING]
    notify(notifications(pending, run), deps)
    held = next((job for job in jobs if job.status is JobStatus.RUNNING), None)
    return Finished(outcome=fact.outcome, next=_continuation(attempt, fact, held, written, deps) if held else None)


def _continuation(attempt: Attempt, fact: StageFinish, job: JobRecord, written: Written, deps: Deps) -> Attempt | None:
    """The attempt of the next stage. Its input is known here, unless it includes outputs of siblings."""
    claim, outcome, changes = attempt.claim, fact.outcome, written.changes
    if not isinstance(outcome, Completed) or not is_alone(claim.stage, fact.workflow):
        return _repeat_claim(job, deps)
    (stage,) = changes.inserted(StageRecord)
    run = replace(claim.run, version=claim.run.version + 1, group_no=stage.execution_group, group_open=1)
    assert fact.lease is not None, "a continued job has a lease"
    held = replace(job, lease_until=written.now + timedelta(seconds=fact.lease.seconds))
    previous = {claim.stage.stage_id: outcome.output}
    return new_attempt(Claim(run=run, stage=stage, job=held, previous=previous), deps)


def _repeat_claim(job: JobRecord, deps: Deps) -> Attempt | None:
    """Repeats the claim of a job under its own token, to read its rows and input."""
    assert job.worker_id is not None, "a claimed job has a worker"
    assert job.lease_token is not None, "a claimed job has a token"
    lease = Lease(worker_id=job.worker_id, token=job.lease_token, seconds=LEASE_SECONDS)
    request = ClaimRequest(lease=lease, at=deps.clock.now(), job_id=job.id, run_id=job.workflow_run_id)
    claim = deps.persistence.claim(request)
    return new_attempt(claim, deps) if isinstance(claim, Claim) else None


def _after_lost_answer(attempt: Attempt, fact: StageFinish, first: Changes | Refused, deps: Deps) -> Finished:
    """The first write was committed and its answer lost: its jobs exist, and one may be claimed for this worker."""
    jobs = first.inserted(JobRecord) if isinstance(first, Changes) else ()
    pending = [job for job in jobs if job.status is JobStatus.PENDING]
    notify(notifications(pending, attempt.claim.run), deps)
    held = next((job for job in jobs if job.status is JobStatus.RUNNING), None)
    return Finished(outcome=fact.outcome, next=_repeat_claim(held, deps) if held else None)


def execute(command: JobExecute, deps: Deps) -> JobExecuteResult:
    if command.idempotency_key is None:
        return _execute(command, deps)
    run = deps.persistence.read(lambda tx: tx.runs.find(command.workflow_run_id))
    record = acquire(command, command.idempotency_key, deps, run.tenant if run else None)
    if record.state is KeyState.DONE:
        return JobExecuteResult.model_validate(record.result)
    return _under_key(command, record, deps)


def _under_key(command: JobExecute, record: KeyRecord, deps: Deps) -> JobExecuteResult:
    """Stores the result of a success; after errors and ghosts the key is deleted."""
    result: JobExecuteResult | None = None
    try:
        result = _execute(command, deps)
        return result
    finally:
        if result is None or result.ghost or result.outcome == "failed":
            deps.persistence.transact(lambda tx: tx.keys.delete(record))
        else:
            done = replace(record, state=KeyState.DONE, result=result.model_dump(mode="json"), expires_at=None)
            deps.persistence.transact(lambda tx: tx.keys.replace(done))


def _execute(command: JobExecute, deps: Deps) -> JobExecuteResult:
    snapshot = read_run(command.workflow_run_id, deps.persistence)
    if snapshot is None or snapshot.run.status is not RunStatus.RUNNING:
        return _ghost("the run is not RUNNING")
    stage = next((stage for stage in snapshot.stages if stage.stage_id == command.stage_id), None)
    if stage is None:
        return _ghost("the stage has no record")
    if stage.status is StageStatus.COMPLETED and stage.output_data is not None:
        return JobExecuteResult(outcome="completed", output=load_value(stage.output_data, deps.blob_store))
    attempt = _attempt_of(command, snapshot, stage, deps)
    if attempt is None:
        return _ghost("the job is held by another worker, not due, or done")
    finished = finish(JobFinish(attempt=attempt, outcome=_outcome(attempt, deps)), deps)
    if isinstance(finished.outcome, Ghost):
        return _ghost(finished.outcome.why)
    return _answer(finished.outcome, deps)


def _outcome(attempt: Attempt, deps: Deps) -> Outcome:
    try:
        return perform(attempt, deps)
    except EngineError:  # not an error of the body: the job must not wait for the end of the lease
        release_lease(attempt.claim.job, deps, expired=False, uncounted=True)
        raise


def _attempt_of(command: JobExecute, snapshot: RunSnapshot, stage: StageRecord, deps: Deps) -> Attempt | None:
    """Claims the stage's job, or continues a claim that the caller holds."""
    job = snapshot.job_of(stage)
    if job is None or command.job_id not in {None, job.id}:
        return None
    if job.status is JobStatus.PENDING and command.lease_token is None:
        lease = Lease(worker_id=CALLER, token=deps.ids.token(), seconds=LEASE_SECONDS)
        request = ClaimRequest(lease=lease, at=deps.clock.now(), job_id=job.id, run_id=snapshot.run.id)
        claim = deps.persistence.claim(request)
        return new_attempt(claim, deps) if isinstance(claim, Claim) else None
    if job.status is not JobStatus.RUNNING or command.lease_token not in {None, job.lease_token}:
        return None
    return _repeat_claim(job, deps)


def _answer(outcome: Outcome, deps: Deps) -> JobExecuteResult:
    match outcome:
        case Completed():
            return JobExecuteResult(outcome="completed", output=load_value(outcome.output, deps.blob_store))
        case Suspended():
            return JobExecuteResult(outcome="suspended", next_poll_at=outcome.next_poll_at)
        case Failed():
            return JobExecuteResult(outcome="failed", error=outcome.message, retryable=outcome.retry_in is not None)


def _ghost(why: str) -> JobExecuteResult:
    return JobExecuteResult(outcome="failed", error=why, ghost=True)
