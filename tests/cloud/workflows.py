"""Workflows for the real handlers."""

import os
import time
from pathlib import Path
from typing import Any

from engine import CheckContext, Ready, RetryPolicy, StageContext, StageResult, Suspended, SuspendedState
from tests.kernel.workflows import AnyStage, batch_stage, boom, echo, pipeline, stage

LIMIT = 10.0
LONG = 60.0


def ready(_state: SuspendedState, ctx: CheckContext[Any]) -> Any:
    return Ready({"ready": ctx.stage_id})


def waits(stage_id: str, seconds: float) -> AnyStage:
    return batch_stage(ready, stage_id, lambda _ctx: Suspended("batch-1", poll_interval=seconds), timeout=LIMIT)


def with_report(ctx: StageContext[Any, Any]) -> Any:
    return StageResult(output=ctx.input, artifacts={"report.md": "# done\n"})


def lasting(ctx: StageContext[Any, Any]) -> Any:
    """Takes `seconds` of the run's input, then goes on."""
    time.sleep(ctx.input["seconds"])
    return ctx.input


def hangs_at_first(ctx: StageContext[Any, Any]) -> Any:
    """Leaves its process id in the folder of the input; the first attempt then does nothing for a minute."""
    Path(ctx.input["folder"], f"{ctx.stage_id}-{ctx.attempt}").write_text(str(os.getpid()))
    if ctx.attempt == 1 and not Path(ctx.input["folder"], f"{ctx.stage_id}-handed-back").exists():
        time.sleep(LONG)
    return ctx.input


quick = RetryPolicy(initial=1.0, jitter=0)

NAMES = (
    "mixed",
    "forked",
    "far-ahead",
    "one",
    "failing",
    "suspending",
    "steady",
    "overrun",
    "continued",
    "interrupted",
)
WORKFLOWS = {name: f"tests.cloud.workflows:{name.replace('-', '_')}" for name in NAMES}

mixed = pipeline(
    stage("a", timeout=LIMIT),
    [stage("b", timeout=LIMIT), stage("c", timeout=LIMIT)],
    waits("d", 30.0),
    stage("e", with_report, timeout=LIMIT),
    workflow_id="mixed",
)
forked = pipeline(
    stage("a", timeout=LIMIT),
    [stage("b", timeout=LIMIT), stage("c", timeout=LIMIT)],
    stage("d", timeout=LIMIT),
    workflow_id="forked",
)
far_ahead = pipeline(waits("a", 7200.0), stage("b", timeout=LIMIT), workflow_id="far-ahead")
one = pipeline(stage("a", timeout=1.0), workflow_id="one")
failing = pipeline(stage("a", boom, retry=RetryPolicy(max_attempts=1), timeout=LIMIT), workflow_id="failing")
suspending = pipeline(
    stage("a", timeout=LIMIT), waits("b", 1.0), stage("c", with_report, timeout=LIMIT), workflow_id="suspending"
)
steady = pipeline(
    stage("a", lasting, timeout=LIMIT),
    [stage("b", lasting, timeout=LIMIT), stage("c", echo, timeout=LIMIT)],
    stage("d", echo, timeout=LIMIT),
    workflow_id="steady",
)
overrun = pipeline(stage("a", hangs_at_first, timeout=1.0, retry=quick), workflow_id="overrun")
continued = pipeline(
    stage("a", echo, timeout=1.0), stage("b", hangs_at_first, timeout=1.5, retry=quick), workflow_id="continued"
)
interrupted = pipeline(stage("a", hangs_at_first, timeout=4.0), workflow_id="interrupted")
