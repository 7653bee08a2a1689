"""Starts PENDING runs: creates their first stage records and jobs."""

import logging

from engine.domain.errors import EngineError, StoreError, StoreUnavailable
from engine.domain.records import JobRecord, RunRecord
from engine.execution.tracing import current_trace
from engine.kernel.commands import ClaimedRun, RunClaimPending, RunClaimPendingResult
from engine.kernel.deciding import decide_run
from engine.kernel.notifying import notifications, notify
from engine.kernel.running import fail_run
from engine.ports.changes import Reason, Refused, Written
from engine.ports.deps import Deps
from engine.transitions.context import DecisionContext
from engine.transitions.start_run import start_run as decide_start

logger = logging.getLogger(__name__)


def claim_pending(command: RunClaimPending, deps: Deps) -> RunClaimPendingResult:
    """Other processes may take the runs of a page first. Then the next page is read, so that no run is left."""
    claimed: list[ClaimedRun] = []
    seen: set[str] = set()
    while len(claimed) < command.max_claims:
        page = deps.persistence.read(lambda tx: tx.runs.pending(command.max_claims))
        runs = [run for run in page if run.id not in seen][: command.max_claims - len(claimed)]
        seen.update(run.id for run in runs)
        claimed += [started for run in runs if (started := start_run(run, deps)) is not None]
        if not runs or len(page) < command.max_claims:
            break
    return RunClaimPendingResult(claimed=tuple(claimed))


def start_run(run: RunRecord, deps: Deps) -> ClaimedRun | None:
    """Starts the run in one transaction. Fails a run that cannot start.

    None if the run failed, or was started by another process. Raises `StoreUnavailable`, which does not fail the run.
    """
    try:
        return _start(run, deps)
    except StoreUnavailable:
        raise
    except Exception as error:  # one bad run must not keep the others from starting
        logger.exception("run %s could not be claimed", run.id)
        _fail_start(run, "CLAIM_FAILED", f"{type(error).__name__}: {error}", deps)
        return None


def _start(run: RunRecord, deps: Deps) -> ClaimedRun | None:
    workflow = deps.registry.get_workflow(run.workflow_id)
    if workflow is None:
        _fail_start(run, "WORKFLOW_NOT_FOUND", f"workflow {run.workflow_id!r} is not registered", deps)
        return None
    if workflow.group_count == 0:
        _fail_start(run, "EMPTY_STAGE_GRAPH", f"workflow {run.workflow_id!r} has no stages", deps)
        return None
    context = DecisionContext.of(deps.clock, deps.ids, trace=current_trace())
    first = decide_start(run, workflow, context)
    if isinstance(first, Refused):
        return None
    written = deps.persistence.write(first)
    if isinstance(written, Refused):
        # Another process has started the run, its rows exist already, or the answer of the first write was lost.
        written = decide_run(
            run.id, lambda whole: decide_start(whole.run, workflow, context, whole=whole, first=first), deps
        )
    if isinstance(written, Refused) and written.reason is Reason.REPEAT:
        written = Written(changes=first, now=first.at)
    if isinstance(written, Refused):
        if written.reason is None:
            raise StoreError("rows of its first group exist already, under other ids")
        return None
    jobs = written.changes.inserted(JobRecord)
    notify(notifications(jobs, run), deps)
    return ClaimedRun(workflow_run_id=run.id, workflow_id=run.workflow_id, job_ids=tuple(job.id for job in jobs))


def _fail_start(run: RunRecord, code: str, message: str, deps: Deps) -> None:
    logger.error("run %s fails with %s: %s", run.id, code, message)
    try:
        fail_run(run.id, code, message, deps)
    except EngineError:
        logger.exception("run %s could not be failed; the next claim tries again", run.id)
