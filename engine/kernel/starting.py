"""Turns a PENDING run into a RUNNING one with its first records and jobs."""

import logging

from engine.domain.errors import EngineError, StoreUnavailable
from engine.domain.events import WorkflowStarted
from engine.domain.lifecycle import Status
from engine.domain.records import RunRecord
from engine.kernel.commands import ClaimedRun
from engine.kernel.deps import Deps
from engine.kernel.notifying import notify
from engine.kernel.steps.diagnose import Snapshot
from engine.kernel.steps.open_group import DecisionContext, notifications_of, open_group
from engine.kernel.tracing import current_trace
from engine.kernel.transitions import fail_run
from engine.ports.write_set import Verdict, WriteSet

logger = logging.getLogger(__name__)


def start_run(run: RunRecord, deps: Deps) -> ClaimedRun | None:
    """One transaction. A run that cannot start is FAILED with its cause; None when it did not start, or not here.

    Raises `StoreUnavailable`: that is no fault of the run.
    """
    try:
        return _start(run, deps)
    except StoreUnavailable:
        raise
    except Exception as error:  # one bad run must not keep the others from starting
        logger.exception("run %s could not be claimed", run.id)
        _give_up(run, "CLAIM_FAILED", f"{type(error).__name__}: {error}", deps)
        return None


def _start(run: RunRecord, deps: Deps) -> ClaimedRun | None:
    workflow = deps.registry.get_workflow(run.workflow_id)
    if workflow is None:
        _give_up(run, "WORKFLOW_NOT_FOUND", f"workflow {run.workflow_id!r} is not registered", deps)
        return None
    if workflow.group_count == 0:
        _give_up(run, "EMPTY_STAGE_GRAPH", f"workflow {run.workflow_id!r} has no stages", deps)
        return None
    now = DecisionContext.of(deps.clock, deps.ids, trace=current_trace())
    group = open_group(workflow, run, 1, now)
    event = WorkflowStarted(timestamp=now.at, workflow_run_id=run.id, workflow_id=run.workflow_id)
    applied = deps.persistence.apply(
        WriteSet(
            run_id=run.id,
            at=now.at,
            run_in=frozenset({Status.PENDING}),
            run={"status": Status.RUNNING, "started_at": now.at},
            opens=group,
            events=(event,),
        )
    )
    if applied.verdict is not Verdict.APPLIED:
        return None
    notify(notifications_of(group.jobs, run), deps)
    return ClaimedRun(workflow_run_id=run.id, workflow_id=run.workflow_id, job_ids=tuple(job.id for job in group.jobs))


def _give_up(run: RunRecord, code: str, message: str, deps: Deps) -> None:
    logger.error("run %s fails with %s: %s", run.id, code, message)
    try:
        fail_run(Snapshot(run, (), ()), code, message, deps)
    except EngineError:
        logger.exception("run %s could not be failed; the next claim tries again", run.id)
