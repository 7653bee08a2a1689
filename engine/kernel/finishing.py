"""Commits what a delivery came to, then rings and arms what follows from it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from engine.definition.workflow import Workflow
from engine.domain.errors import InvalidInput
from engine.domain.records import RunRecord
from engine.kernel.commands import StagePollSuspended
from engine.kernel.deliveries import CancelFlag, Delivery, Finished, JobFinish
from engine.kernel.deps import Deps
from engine.kernel.outcomes import Completed, Failed, Ghost, Outcome, Suspended
from engine.kernel.perform import failed_by
from engine.kernel.recorder import Recorder
from engine.kernel.ringing import arm, ring
from engine.kernel.spending import earlier_spending
from engine.kernel.steps.finish_stage import Ending, finish_stage
from engine.kernel.steps.open_group import Now, claimed_group, doorbells, with_lease
from engine.ports.persistence import Claim, ClaimRequest
from engine.ports.write_set import Applied, Lease, OpenGroup, Verdict, WriteSet


def new_delivery(claim: Claim, deps: Deps) -> Delivery:
    recorder = Recorder(claim.stage, claim.run.workflow_id, clock=deps.clock, ids=deps.ids, delivery=claim.job.attempt)
    return Delivery(claim, recorder, CancelFlag())


def finish(command: JobFinish, deps: Deps) -> Finished:
    """One transaction: outcome, job, run, and the claim of the next stage where the command allows it.

    What the store refuses to hold fails the stage: a worker that dies of it would get it again and again.
    """
    try:
        return _finish(command, deps)
    except InvalidInput as error:
        delivery = new_delivery(command.delivery.claim, deps)
        return _finish(replace(command, delivery=delivery, outcome=failed_by(error)), deps)


def _finish(command: JobFinish, deps: Deps) -> Finished:
    claim = command.delivery.claim
    workflow = deps.registry.get_workflow(claim.run.workflow_id)
    ending = Ending(
        run=claim.run,
        stage=claim.stage,
        job=claim.job,
        recorder=command.delivery.recorder,
        workflow=workflow,
        now=Now.of(deps.clock, deps.ids, trace=claim.job.trace_context, spent=earlier_spending(claim.stage, deps)),
    )
    write_set = _continued(finish_stage(ending, command.outcome), command, workflow)
    _arm(command.outcome, ending, deps)
    applied = deps.persistence.apply(write_set)
    if applied.verdict not in (Verdict.APPLIED, Verdict.REPEAT):
        return Finished(outcome=Ghost(f"{applied.verdict}: run {claim.run.id} stage {claim.stage.stage_id}"))
    following = write_set.then if applied.closed or applied.verdict is Verdict.REPEAT else None
    next_delivery = _next(following, command, write_set, applied, deps)
    if isinstance(following, OpenGroup) and next_delivery is None:
        ring(doorbells(following.jobs, claim.run), deps)
    return Finished(outcome=command.outcome, next=next_delivery)


def _continued(write_set: WriteSet, command: JobFinish, workflow: Workflow[Any, Any] | None) -> WriteSet:
    """Lets the transaction claim the next stage too, if it is one stage of the same pool that there is time for."""
    group, run = write_set.then, command.delivery.claim.run
    if not isinstance(group, OpenGroup) or command.lease is None or workflow is None or len(group.stages) != 1:
        return write_set
    (stage,) = workflow.group(group.group_no)
    if stage.pool != command.delivery.claim.job.pool or not command.may_start(stage):
        return write_set
    return replace(write_set, then=with_lease(group, command.lease, run, write_set.at))


def _arm(outcome: Outcome, ending: Ending, deps: Deps) -> None:
    """Asks for the wakes of what will be due later, before it is committed."""
    match outcome:
        case Suspended():
            poll = StagePollSuspended(stage_record_id=ending.stage.id, workflow_run_id=ending.run.id, max_checks=1)
            deps.scheduler.wake(poll.model_dump(mode="json"), outcome.next_poll_at)
        case Failed(retry_in=float() as delay):
            arm(ending.run.id, ending.now.at + timedelta(seconds=delay), deps)
        case _:
            pass


def _next(group: object, command: JobFinish, write_set: WriteSet, applied: Applied, deps: Deps) -> Delivery | None:
    if not isinstance(group, OpenGroup) or group.lease is None:
        return None
    claim, outcome = command.delivery.claim, command.outcome
    known = applied.verdict is Verdict.APPLIED and isinstance(outcome, Completed) and _is_alone(command, deps)
    if known and isinstance(outcome, Completed):
        run = replace(claim.run, version=applied.run_version)
        return new_delivery(claimed_group(group, run, outcome.output, claim.stage.stage_id, write_set.at), deps)
    return _own_claim(group, group.lease, claim.run, deps)


def _is_alone(command: JobFinish, deps: Deps) -> bool:
    """Whether the finished stage's output is all that the next group gets."""
    claim = command.delivery.claim
    workflow = deps.registry.get_workflow(claim.run.workflow_id)
    return workflow is not None and len(workflow.group(claim.stage.execution_group)) == 1


def _own_claim(group: OpenGroup, lease: Lease, run: RunRecord, deps: Deps) -> Delivery | None:
    """The claim taken by a committed write set, read back: its outputs come from siblings, or its answer was lost."""
    request = ClaimRequest(lease=lease, at=deps.clock.now(), job_id=group.jobs[0].id, run_id=run.id)
    claim = deps.persistence.claim(request)
    return new_delivery(claim, deps) if isinstance(claim, Claim) else None
