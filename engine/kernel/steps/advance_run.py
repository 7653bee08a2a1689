"""What follows when a group is finished: the next group, or the end of the run."""

from typing import Any

from engine.definition.workflow import Workflow
from engine.domain.events import StageFailed, WorkflowCompleted, WorkflowFailed
from engine.domain.records import RunRecord, StageRecord
from engine.domain.stored_value import StoredValue
from engine.kernel.steps.open_group import DecisionContext, open_group
from engine.ports.write_set import CompleteRun, OpenGroup


def advance_run(
    workflow: Workflow[Any, Any],
    run: RunRecord,
    last: StageRecord,
    now: DecisionContext,
    *,
    output: StoredValue | None = None,
) -> OpenGroup | CompleteRun:
    """What follows the group of `last`, in its generation. `output` is that of `last`, if its group has no other."""
    group_no = last.execution_group
    if group_no < workflow.group_count:
        return open_group(workflow, run, group_no + 1, now, generation=last.generation)
    event = WorkflowCompleted(timestamp=now.at, workflow_run_id=run.id, workflow_id=run.workflow_id)
    # The workflow may have become shorter than the run is.
    alone = group_no == workflow.group_count and len(workflow.group(group_no)) == 1
    return CompleteRun(event=event, output=output if alone else None)


def workflow_failed(run: RunRecord, now: DecisionContext, *, code: str = "", message: str = "") -> WorkflowFailed:
    return WorkflowFailed(
        timestamp=now.at, workflow_run_id=run.id, workflow_id=run.workflow_id, error=message, error_code=code
    )


def stage_failed(
    run: RunRecord, stage: StageRecord, now: DecisionContext, *, code: str, message: str, will_retry: bool
) -> StageFailed:
    return StageFailed(
        timestamp=now.at,
        workflow_run_id=run.id,
        workflow_id=run.workflow_id,
        stage_id=stage.stage_id,
        stage_name=stage.stage_name,
        stage_number=stage.stage_number,
        generation=stage.generation,
        error=message,
        error_code=code,
        will_retry=will_retry,
    )
