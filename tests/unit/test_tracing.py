from typing import Any

from pydantic import BaseModel

from engine import StageContext, define_stage, define_workflow
from engine.execution.tracing import current_trace
from engine.kernel import RunCreate, RunRerunFrom
from engine.testing import TestKernel

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Nothing(BaseModel):
    pass


def seen_by(traces: list[str | None], stage_id: str) -> Any:
    def body(_ctx: StageContext[Nothing]) -> Nothing:
        traces.append(current_trace())
        return Nothing()

    return define_stage(id=stage_id, name=stage_id, execute=body)


def kernel_and_traces() -> tuple[TestKernel, list[str | None]]:
    traces: list[str | None] = []
    workflow = (
        define_workflow(id="w", name="W", input=Nothing)
        .pipe(seen_by(traces, "a"))
        .parallel([seen_by(traces, "b"), seen_by(traces, "c")])
        .pipe(seen_by(traces, "d"))
        .build()
    )
    return TestKernel(workflow), traces


def test_every_stage_runs_in_the_trace_its_run_was_created_in() -> None:
    kernel, traces = kernel_and_traces()
    kernel.run("w", {}, trace_context=TRACE)
    assert [trace and trace.split("-")[1] for trace in traces] == [TRACE.split("-")[1]] * 4


def test_a_rerun_continues_the_trace_of_the_run() -> None:
    kernel, traces = kernel_and_traces()
    run_id = kernel.run("w", {}, trace_context=TRACE).run.id
    traces.clear()
    kernel.dispatch(RunRerunFrom(workflow_run_id=run_id, from_stage_id="b"))
    kernel.run_to_completion(run_id)
    assert [trace and trace.split("-")[1] for trace in traces] == [TRACE.split("-")[1]] * 3


def test_without_a_trace_there_is_none() -> None:
    kernel, traces = kernel_and_traces()
    kernel.run("w", {})
    assert traces == [None] * 4


def test_another_trace_is_no_other_request() -> None:
    kernel, _ = kernel_and_traces()
    first = kernel.dispatch(RunCreate(workflow_id="w", input={}, idempotency_key="k", trace_context=TRACE))
    again = kernel.dispatch(RunCreate(workflow_id="w", input={}, idempotency_key="k"))
    assert again == first
