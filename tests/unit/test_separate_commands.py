"""The life of a run, driven by separate commands and the queue."""

from pydantic import BaseModel

from engine import StageContext, define_stage, define_workflow
from engine.kernel import JobExecute, RunClaimPending, RunCreate, RunStatus, RunTransition
from engine.testing import TestKernel


class Data(BaseModel):
    data: str


class Result(BaseModel):
    result: str


@define_stage(id="process", name="Process data")
def process(ctx: StageContext[Data]) -> Result:
    return Result(result=ctx.input.data.upper())


WORKFLOW = define_workflow(id="my-workflow", name="My workflow", input=Data).pipe(process).build()


def test_create_claim_dequeue_execute_transition() -> None:
    kernel = TestKernel(WORKFLOW)
    created = kernel.dispatch(RunCreate(idempotency_key="test", workflow_id="my-workflow", input={"data": "hello"}))
    assert created.status is RunStatus.PENDING
    claimed = kernel.dispatch(RunClaimPending(worker_id="test-worker")).claimed
    assert [run.workflow_run_id for run in claimed] == [created.workflow_run_id]
    job = kernel.queue.dequeue()
    assert job is not None
    executed = kernel.dispatch(
        JobExecute(workflow_run_id=job.workflow_run_id, workflow_id="my-workflow", stage_id=job.stage_id, config={})
    )
    assert executed.outcome == "completed"
    assert executed.output == {"result": "HELLO"}
    kernel.queue.complete(job.id)
    kernel.dispatch(RunTransition(workflow_run_id=job.workflow_run_id))
    assert kernel.reads.run(job.workflow_run_id).run.status is RunStatus.COMPLETED
    assert kernel.output(job.workflow_run_id) == {"result": "HELLO"}
    kernel.flush()
    assert kernel.events.types() == [
        "workflow:created",
        "workflow:started",
        "stage:started",
        "stage:completed",
        "workflow:completed",
    ]


def test_the_json_form_of_a_command_does_the_same() -> None:
    kernel = TestKernel(WORKFLOW)
    created = kernel.kernel.dispatch(
        {"type": "run.create", "workflow_id": "my-workflow", "input": {"data": "hello"}, "start": True}
    )
    kernel.run_to_completion(created.workflow_run_id)
    assert kernel.output(created.workflow_run_id) == {"result": "HELLO"}
