"""Workflows for processes that get killed: each stage takes a while and leaves a mark of every time it ran."""

import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from engine import Stage, StageContext, define_stage, define_workflow

STEPS = 12
STEP_SECONDS = 0.02
SLEEPER = "import os, pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); time.sleep(600)"


class Work(BaseModel):
    marks: str
    done: list[str] = []


def _slow(stage_id: str) -> Stage[Any, Any, Any]:
    def body(ctx: StageContext[Work]) -> Work:
        with Path(ctx.input.marks).open("a") as marks:
            marks.write(f"{stage_id} {ctx.generation} {ctx.attempt}\n")
        for step in range(STEPS):
            ctx.on_progress(step / STEPS)
            time.sleep(STEP_SECONDS)
        return Work(marks=ctx.input.marks, done=[*ctx.input.done, stage_id])

    return define_stage(id=stage_id, name=stage_id, execute=body)


def _join(ctx: StageContext[dict[str, Work]]) -> Work:
    parts = list(ctx.input.values())
    return Work(marks=parts[0].marks, done=[*parts[0].done, *parts[1].done[-1:], "join"])


SLOW = (
    define_workflow(id="slow", name="Slow", input=Work)
    .pipe(_slow("first"))
    .pipe(_slow("second"))
    .parallel([_slow("left"), _slow("right")])
    .pipe(define_stage(id="join", name="join", execute=_join))
    .build()
)


def _hold_the_interpreter(ctx: StageContext[Work]) -> Work:
    """Computes for two seconds without letting any other thread of its process run for long."""
    end = time.monotonic() + 2.0
    while time.monotonic() < end:
        sum(range(2_000_000))
    return ctx.input


def _sleep_for_ever(ctx: StageContext[Work]) -> Work:
    with Path(ctx.input.marks).open("a") as marks:
        marks.write(f"stuck {ctx.attempt}\n")
    if ctx.attempt == 1:
        subprocess.run([sys.executable, "-c", SLEEPER, f"{ctx.input.marks}.pid"], check=True)
    return ctx.input


def _die(ctx: StageContext[Work]) -> Work:
    with Path(ctx.input.marks).open("a") as marks:
        marks.write(f"died {ctx.attempt}\n")
    os._exit(139)


HOGGING = (
    define_workflow(id="hogging", name="Hogging", input=Work)
    .pipe(define_stage(id="hog", name="hog", execute=_hold_the_interpreter))
    .build()
)
STUCK = (
    define_workflow(id="stuck", name="Stuck", input=Work)
    .pipe(define_stage(id="stuck", name="stuck", execute=_sleep_for_ever, timeout=1))
    .build()
)
POISON = (
    define_workflow(id="poison", name="Poison", input=Work)
    .pipe(define_stage(id="poison", name="poison", execute=_die))
    .build()
)


def _wait_the_first_time(ctx: StageContext[Work]) -> Work:
    marks = Path(ctx.input.marks)
    if not marks.exists():
        marks.write_text(f"{os.getpid()}")
        time.sleep(600)
    return ctx.input


def _squared(number: int) -> int:
    return number * number


def _use_processes(ctx: StageContext[Work]) -> Work:
    """Uses a pool of processes, terminates a process, then forks one that comes back from the body too."""
    forked = multiprocessing.get_context("fork")
    with forked.Pool(2) as pool:
        squares = pool.map(_squared, [1, 2, 3])
    sleeper = forked.Process(target=time.sleep, args=(600,))
    sleeper.start()
    sleeper.terminate()
    sleeper.join()
    if os.fork() == 0:
        return ctx.input
    os.wait()
    return Work(marks=ctx.input.marks, done=[str(square) for square in squares])


WAITING = (
    define_workflow(id="waiting", name="Waiting", input=Work)
    .pipe(define_stage(id="wait", name="wait", execute=_wait_the_first_time))
    .build()
)
FORKING = (
    define_workflow(id="forking", name="Forking", input=Work)
    .pipe(define_stage(id="fork", name="fork", execute=_use_processes))
    .build()
)


def _counting(stage_id: str) -> Stage[Any, Any, Any]:
    def body(ctx: StageContext[Work]) -> Work:
        with Path(ctx.input.marks).open("a") as marks:
            marks.write(f"{ctx.workflow_run_id} {stage_id}\n")
        return ctx.input

    return define_stage(id=stage_id, name=stage_id, execute=body)


COUNTING = (
    define_workflow(id="counting", name="Counting", input=Work)
    .pipe(_counting("a"))
    .pipe(_counting("b"))
    .pipe(_counting("c"))
    .build()
)

WORKFLOWS: Mapping[str, str] = {
    name: f"tests.processes.pipelines:{name.upper()}"
    for name in ("slow", "hogging", "stuck", "poison", "counting", "waiting", "forking")
}
