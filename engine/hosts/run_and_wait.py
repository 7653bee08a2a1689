"""Creates a run and waits for its end."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.domain.lifecycle import ENDED_RUNS, RunStatus
from engine.domain.records import StageRecord
from engine.domain.values import Json
from engine.hosts.worker import WorkerHost
from engine.kernel.commands import RunCreate
from engine.kernel.kernel import Kernel
from engine.ports.reads import RunView

FIRST_LOOK, LONGEST_LOOK = 0.001, 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutcome:
    """A finished run. `total_cost` in US dollars, `duration_ms` from start to end."""

    workflow_run_id: str
    status: RunStatus
    stages: Sequence[StageRecord]
    total_cost: float
    total_tokens: int
    duration_ms: int | None
    output: Json
    error: str | None


def run_and_wait(
    kernel: Kernel,
    host: WorkerHost | None,
    command: RunCreate,
    *,
    on_stage_change: Callable[[StageRecord], None] = lambda _stage: None,
    timeout: float | None = None,
) -> RunOutcome:
    """Creates a run and waits until it has ended.

    `host` is started before and stopped after; pass None when another host works on the run. `on_stage_change` gets
    each stage record whose status changed. Raises the errors of `run.create`, and `TimeoutError` after `timeout`
    seconds; the run continues.
    """
    created = kernel.dispatch(command.model_copy(update={"start": True}))
    if host is None:
        return _wait(kernel, created.workflow_run_id, on_stage_change, timeout)
    with host:
        return _wait(kernel, created.workflow_run_id, on_stage_change, timeout)


def _wait(
    kernel: Kernel, run_id: str, on_stage_change: Callable[[StageRecord], None], timeout: float | None
) -> RunOutcome:
    end = time.monotonic() + timeout if timeout is not None else float("inf")
    seen: Mapping[str, Any] = {}
    pause = FIRST_LOOK
    while True:
        view = kernel.reads.run(run_id)
        for stage in view.stages:
            if seen.get(stage.id) != (stage.status, stage.generation):
                on_stage_change(stage)
        seen = {stage.id: (stage.status, stage.generation) for stage in view.stages}
        if view.run.status in ENDED_RUNS:
            return _outcome(kernel, view)
        if time.monotonic() > end:
            raise TimeoutError(f"run {run_id!r} is still {view.run.status} after {timeout:g} s")
        time.sleep(pause)
        pause = min(LONGEST_LOOK, pause * 1.2)


def _outcome(kernel: Kernel, view: RunView) -> RunOutcome:
    run = view.run
    return RunOutcome(
        workflow_run_id=run.id,
        status=run.status,
        stages=view.stages,
        total_cost=run.total_cost,
        total_tokens=run.total_tokens,
        duration_ms=run.duration_ms,
        output=kernel.reads.value(run.output),
        error=run.failure_message,
    )
