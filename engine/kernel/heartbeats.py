"""Keeps an attempt's lease and lets its logs and progress be seen while the body runs."""

from engine.domain.lifecycle import Status
from engine.kernel.attempts import JobHeartbeat
from engine.kernel.deps import Deps
from engine.kernel.steps.finish_stage import progress_event
from engine.ports.transaction import LeaseState
from engine.ports.write_set import JobChange, StageChange, Verdict, WriteSet


def heartbeat(command: JobHeartbeat, deps: Deps) -> LeaseState:
    """Renews the lease; with something recorded, writes it in the same transaction. Sets the attempt's cancel flag."""
    state = _beat(command, deps)
    if state is not LeaseState.HELD:
        command.attempt.cancellation.cancelled = True
    return state


def _beat(command: JobHeartbeat, deps: Deps) -> LeaseState:
    attempt = command.attempt
    logs, progress = attempt.recorder.take()
    if not logs and progress is None:
        return _renew(command, deps)
    claim = attempt.claim
    write_set = WriteSet(
        run_id=claim.run.id,
        at=deps.clock.now(),
        job=JobChange(job_id=claim.job.id, to=Status.RUNNING, token=attempt.token, renew=command.lease_seconds),
        stage=StageChange(
            record_id=claim.stage.id,
            status_in=frozenset({Status.RUNNING}),
            patch={"progress": progress.row()} if progress else {},
        ),
        logs=logs,
        events=(progress_event(claim.run, claim.stage, progress),) if progress else (),
    )
    try:
        applied = deps.persistence.apply(write_set)
    except Exception:  # whatever it was, what was taken must not be lost; it is raised again
        attempt.recorder.restore(logs, progress)
        raise
    if applied.verdict is Verdict.APPLIED:
        return LeaseState.CANCELLED if applied.failing else LeaseState.HELD
    return LeaseState.CANCELLED if applied.verdict is Verdict.GHOST else LeaseState.LOST


def _renew(command: JobHeartbeat, deps: Deps) -> LeaseState:
    job = command.attempt.claim.job
    return deps.persistence.transact(lambda tx: tx.jobs.renew(job.id, command.attempt.token, command.lease_seconds))
