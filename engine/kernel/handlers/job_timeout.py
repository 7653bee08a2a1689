from engine.domain.errors import StageTimeout
from engine.domain.lifecycle import Status
from engine.kernel.attempts import JobFinish, JobTimeout
from engine.kernel.deps import Deps
from engine.kernel.finishing import finish, new_attempt
from engine.kernel.outcomes import Failed, Ghost
from engine.kernel.perform import failed_by, failure
from engine.kernel.transitions import read_snapshot
from engine.ports.persistence import Claim


def handle(command: JobTimeout, deps: Deps) -> bool:
    """False when the attempt had ended otherwise by then."""
    snapshot = read_snapshot(command.workflow_run_id, deps.persistence)
    if snapshot is None:
        return False
    job = next((job for job in snapshot.jobs if job.id == command.job_id), None)
    stage = next((stage for stage in snapshot.stages if job and stage.id == job.stage_record_id), None)
    if job is None or stage is None or job.status is not Status.RUNNING or job.lease_token != command.lease_token:
        return False
    attempt = new_attempt(Claim(run=snapshot.run, stage=stage, job=job, previous={}), deps)
    workflow = deps.registry.get_workflow(snapshot.run.workflow_id)
    definition = workflow.get_stage(stage.stage_id) if workflow else None
    error = StageTimeout(f"stage {stage.stage_id!r} ran longer than its {command.seconds:g} s")
    outcome: Failed = failure(error, definition, attempt, deps) if definition else failed_by(error)
    finished = finish(JobFinish(attempt=attempt, outcome=outcome), deps)
    return not isinstance(finished.outcome, Ghost)
