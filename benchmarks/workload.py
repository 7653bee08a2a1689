"""The measured pipeline, and its run in one process."""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from engine import Stage, StageContext, define_stage, define_workflow
from engine.adapters.local.in_process import InProcessJobTransport, InProcessTimers
from engine.adapters.local.logging_sink import LoggingSink
from engine.adapters.memory.blob_store import InMemoryBlobStore
from engine.adapters.system import SystemClock, SystemIds
from engine.hosts import WorkerHost, run_and_wait
from engine.hosts.job_runner import JobReport, JobRunner
from engine.hosts.lease_keeper import LeaseKeeper
from engine.kernel import Deps, Kernel, LocalExecutor, OutboxFlush, RunCreate
from engine.ports.persistence import Persistence
from engine.testing.kernel import Workflows


class Number(BaseModel):
    n: int


def _plus_one(stage_id: str) -> Stage[Any, Any, Any]:
    def body(ctx: StageContext[Number]) -> Number:
        return Number(n=ctx.input.n + 1)

    return define_stage(id=stage_id, name=stage_id, execute=body)


TRIVIAL = (
    define_workflow(id="trivial", name="Three trivial stages", input=Number)
    .pipe(_plus_one("a"))
    .pipe(_plus_one("b"))
    .pipe(_plus_one("c"))
    .build()
)


@dataclass(frozen=True)
class Rig:
    kernel: Kernel
    notifications: InProcessJobTransport
    timers: InProcessTimers


def rig(persistence: Persistence) -> Rig:
    notifications, timers = InProcessJobTransport(), InProcessTimers()
    deps = Deps(
        persistence=persistence,
        blob_store=InMemoryBlobStore(),
        job_transport=notifications,
        event_sink=LoggingSink(),
        scheduler=timers,
        clock=SystemClock(),
        registry=Workflows([TRIVIAL]),
        executor=LocalExecutor(),
        ids=SystemIds(),
    )
    return Rig(Kernel(deps), notifications, timers)


def throughput(rig: Rig, runs: int, *, flush: bool) -> float:
    """Runs a second of one process that creates each run, works it to its end and, if asked, publishes its events."""
    with LeaseKeeper(rig.kernel) as keeper:
        runner = JobRunner(rig.kernel, keeper, "bench")
        started = time.perf_counter()
        for _ in range(runs):
            _one(rig.kernel, runner, flush=flush)
        return runs / (time.perf_counter() - started)


def _one(kernel: Kernel, runner: JobRunner, *, flush: bool) -> None:
    run_id = kernel.dispatch(RunCreate(workflow_id="trivial", input={"n": 1}, start=True)).workflow_run_id
    report = runner.run(pools=("default",))
    assert isinstance(report, JobReport)
    assert report.stages == 3
    if flush:
        kernel.dispatch(OutboxFlush(workflow_run_id=run_id))


def latencies(rig: Rig, runs: int) -> list[float]:
    """Milliseconds from create to complete, one run at a time, on a worker host that is idle in between."""
    times = []
    with worker(rig):
        for _ in range(runs):
            outcome = run_and_wait(rig.kernel, None, RunCreate(workflow_id="trivial", input={"n": 1}), timeout=30)
            view = rig.kernel.reads.run(outcome.workflow_run_id).run
            assert view.completed_at is not None
            times.append((view.completed_at - view.created_at).total_seconds() * 1000)
    return times


@contextmanager
def worker(rig: Rig) -> Iterator[None]:
    host = WorkerHost(rig.kernel, notifications=rig.notifications, timers=rig.timers)
    with host:
        yield


def spread(values: list[float]) -> str:
    """p50 and p95."""
    return f"p50 {statistics.median(values):6.1f}  p95 {statistics.quantiles(values, n=20)[18]:6.1f}"
