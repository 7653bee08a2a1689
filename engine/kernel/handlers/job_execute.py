from collections.abc import Mapping
from dataclasses import replace

from engine.domain.errors import EngineError
from engine.domain.lifecycle import Status
from engine.domain.records import KeyRecord, KeyState, StageRecord
from engine.domain.stored_value import StoredValue
from engine.kernel.attempts import Attempt, JobFinish
from engine.kernel.commands import JobExecute, JobExecuteResult
from engine.kernel.deps import Deps
from engine.kernel.finishing import finish, new_attempt
from engine.kernel.idempotency import acquire
from engine.kernel.leases import release_lease
from engine.kernel.outcomes import Completed, Failed, Ghost, Outcome, Suspended
from engine.kernel.outputs import load_value
from engine.kernel.perform import perform
from engine.kernel.steps.diagnose import Snapshot
from engine.kernel.transitions import read_snapshot
from engine.ports.persistence import Claim, ClaimRequest
from engine.ports.write_set import Lease

LEASE_SECONDS = 300.0
CALLER = "job.execute"


def handle(command: JobExecute, deps: Deps) -> JobExecuteResult:
    if command.idempotency_key is None:
        return _execute(command, deps)
    run = deps.persistence.read(lambda tx: tx.runs.find(command.workflow_run_id))
    record = acquire(command, command.idempotency_key, deps, run.tenant if run else None)
    if record.state is KeyState.DONE:
        return JobExecuteResult.model_validate(record.result)
    return _under_key(command, record, deps)


def _under_key(command: JobExecute, record: KeyRecord, deps: Deps) -> JobExecuteResult:
    """Keeps the result of a success; errors and ghosts free the key."""
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
    snapshot = read_snapshot(command.workflow_run_id, deps.persistence)
    if snapshot is None or snapshot.run.status is not Status.RUNNING:
        return _ghost("the run is not RUNNING")
    stage = next((stage for stage in snapshot.stages if stage.stage_id == command.stage_id), None)
    if stage is None:
        return _ghost("the stage has no record")
    if stage.status is Status.COMPLETED and stage.output_data is not None:
        return JobExecuteResult(outcome="completed", output=load_value(stage.output_data, deps.blob_store))
    attempt = _attempt(command, snapshot, stage, deps)
    if attempt is None:
        return _ghost("the job is held by somebody else, not due, or done")
    finished = finish(JobFinish(attempt=attempt, outcome=_outcome(attempt, deps)), deps)
    if isinstance(finished.outcome, Ghost):
        return _ghost(finished.outcome.why)
    return _answer(finished.outcome, deps)


def _outcome(attempt: Attempt, deps: Deps) -> Outcome:
    try:
        return perform(attempt, deps)
    except EngineError:  # not the body's doing: nobody else is to wait for the lease's end
        release_lease(attempt.claim.job, deps, expired=False, uncounted=True)
        raise


def _attempt(command: JobExecute, snapshot: Snapshot, stage: StageRecord, deps: Deps) -> Attempt | None:
    job = snapshot.job_of(stage)
    if job is None or command.job_id not in {None, job.id}:
        return None
    if job.status is Status.PENDING and command.lease_token is None:
        lease = Lease(worker_id=CALLER, token=deps.ids.token(), seconds=LEASE_SECONDS)
        claim = deps.persistence.claim(
            ClaimRequest(lease=lease, at=deps.clock.now(), job_id=job.id, run_id=snapshot.run.id)
        )
        return new_attempt(claim, deps) if isinstance(claim, Claim) else None
    if job.status is not Status.RUNNING or command.lease_token not in {None, job.lease_token}:
        return None
    return new_attempt(Claim(run=snapshot.run, stage=stage, job=job, previous=_previous(snapshot, stage)), deps)


def _previous(snapshot: Snapshot, stage: StageRecord) -> Mapping[str, StoredValue]:
    return {
        record.stage_id: record.output_data
        for record in snapshot.stages
        if record.execution_group == stage.execution_group - 1 and record.output_data is not None
    }


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
