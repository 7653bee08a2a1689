"""Commits what an attempt came to, then rings and arms what follows from it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from engine.definition.workflow import Workflow
from engine.domain.errors import InvalidInput
from engine.domain.records import RunRecord
from engine.kernel.attempts import Attempt, CancelFlag, Finished, JobFinish
from engine.kernel.commands import StagePollSuspended
from engine.kernel.deps import Deps
from engine.kernel.notifying import notify, schedule_wakeup
from engine.kernel.outcomes import Completed, Failed, Ghost, Outcome, Suspended
from engine.kernel.perform import failed_by
from engine.kernel.recorder import Recorder
from engine.kernel.spending import earlier_spending
from engine.kernel.steps.finish_stage import StageFinish, finish_stage
from engine.kernel.steps.open_group import DecisionContext, claimed_group, notifications_of, with_lease
from engine.ports.persistence import Claim, ClaimRequest
from engine.ports.write_set import Applied, Lease, OpenGroup, Verdict, WriteSet


def new_attempt(claim: Claim, deps: Deps) -> Attempt:
    recorder = Recorder(claim.stage, claim.run.workflow_id, clock=deps.clock, ids=deps.ids, attempt=claim.job.attempt)
    return Attempt(claim, recorder, CancelFlag())


def finish(command: JobFinish, deps: Deps) -> Finished:
    """One transaction: outcome, job, run, and the claim of the next stage where the command allows it.

    What the store refuses to hold fails the stage: a worker that dies of it would get it again and again.
    """
    try:
        return _finish(command, deps)
    except InvalidInput as error:
        attempt = new_attempt(command.attempt.claim, deps)
        return _finish(replace(command, attempt=attempt, outcome=failed_by(error)), deps)


def _finish(command: JobFinish, deps: Deps) -> Finished:
    claim = command.attempt.claim
    workflow = deps.registry.get_workflow(claim.run.workflow_id)
    finish = StageFinish(
        run=claim.run,
        stage=claim.stage,
        job=claim.job,
        recorder=command.attempt.recorder,
        workflow=workflow,
        now=DecisionContext.of(
            deps.clock, deps.ids, trace=claim.job.trace_context, spent=earlier_spending(claim.stage, deps)
        ),
    )
    write_set = _continued(finish_stage(finish, command.outcome), command, workflow)
    _schedule_wakeups(command.outcome, finish, deps)
    applied = deps.persistence.apply(write_set)
    if applied.verdict not in (Verdict.APPLIED, Verdict.REPEAT):
        return Finished(outcome=Ghost(f"{applied.verdict}: run {claim.run.id} stage {claim.stage.stage_id}"))
    following = write_set.then if applied.closed or applied.verdict is Verdict.REPEAT else None
    next_attempt = _next(following, command, write_set, applied, deps)
    if isinstance(following, OpenGroup) and next_attempt is None:
        notify(notifications_of(following.jobs, claim.run), deps)
    return Finished(outcome=command.outcome, next=next_attempt)


def _continued(write_set: WriteSet, command: JobFinish, workflow: Workflow[Any, Any] | None) -> WriteSet:
    """Lets the transaction claim the next stage too, if it is one stage of the same pool that there is time for."""
    group, run = write_set.then, command.attempt.claim.run
    if not isinstance(group, OpenGroup) or command.lease is None or workflow is None or len(group.stages) != 1:
        return write_set
    (stage,) = workflow.group(group.group_no)
    if stage.pool != command.attempt.claim.job.pool or not command.may_start(stage):
        return write_set
    return replace(write_set, then=with_lease(group, command.lease, run, write_set.at))


def _schedule_wakeups(outcome: Outcome, finish: StageFinish, deps: Deps) -> None:
    """Asks for the wakes of what will be due later, before it is committed."""
    match outcome:
        case Suspended():
            poll = StagePollSuspended(stage_record_id=finish.stage.id, workflow_run_id=finish.run.id, max_checks=1)
            deps.scheduler.wake(poll.model_dump(mode="json"), outcome.next_poll_at)
        case Failed(retry_in=float() as delay):
            schedule_wakeup(finish.run.id, finish.now.at + timedelta(seconds=delay), deps)
        case _:
            pass


def _next(group: object, command: JobFinish, write_set: WriteSet, applied: Applied, deps: Deps) -> Attempt | None:
    if not isinstance(group, OpenGroup) or group.lease is None:
        return None
    claim, outcome = command.attempt.claim, command.outcome
    known = applied.verdict is Verdict.APPLIED and isinstance(outcome, Completed) and _is_alone(command, deps)
    if known and isinstance(outcome, Completed):
        run = replace(claim.run, version=applied.run_version)
        return new_attempt(claimed_group(group, run, outcome.output, claim.stage.stage_id, write_set.at), deps)
    return _own_claim(group, group.lease, claim.run, deps)


def _is_alone(command: JobFinish, deps: Deps) -> bool:
    """Whether the finished stage's output is all that the next group gets."""
    claim = command.attempt.claim
    workflow = deps.registry.get_workflow(claim.run.workflow_id)
    return workflow is not None and len(workflow.group(claim.stage.execution_group)) == 1


def _own_claim(group: OpenGroup, lease: Lease, run: RunRecord, deps: Deps) -> Attempt | None:
    """The claim taken by a committed write set, read back: its outputs come from siblings, or its answer was lost."""
    request = ClaimRequest(lease=lease, at=deps.clock.now(), job_id=group.jobs[0].id, run_id=run.id)
    claim = deps.persistence.claim(request)
    return new_attempt(claim, deps) if isinstance(claim, Claim) else None
