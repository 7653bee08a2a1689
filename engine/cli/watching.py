"""Shows one run until it ends, works on it meanwhile if it is this machine's, and reports its end."""

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from enum import Enum, auto
from typing import TYPE_CHECKING

from engine.cli.exit_codes import OF_STATUS, ExitCode
from engine.cli.following import Follower
from engine.cli.interruption import Interruption, say_stopping
from engine.cli.invocation import Invocation
from engine.cli.printing import note
from engine.cli.run_report import report_run
from engine.cli.views import View, view_for
from engine.domain.lifecycle import ENDED_RUNS

if TYPE_CHECKING:
    from engine.bootstrap.client import Client
    from engine.bootstrap.embedded import Engine

GRACE = 5.0
SETTLE = 30.0
MOST_SLOTS = 4


class StopReason(Enum):
    """The reason why `watch` returned."""

    ENDED = auto()
    INTERRUPTED = auto()
    TIMEOUT = auto()


def watch(
    follower: Follower,
    view: AbstractContextManager[View],
    interruption: Interruption,
    timeout: float | None,
    *,
    every: float,
) -> StopReason:
    """Shows the run until its end, `timeout` seconds or a signal. Polls at the interval `every`, in seconds."""
    end = time.monotonic() + timeout if timeout is not None else float("inf")
    with view as shown:
        while True:
            moment = follower.look()
            shown.show(moment)
            if moment.ended:
                return StopReason.ENDED
            if time.monotonic() >= end:
                return StopReason.TIMEOUT
            if interruption.wait(min(every, max(0.0, end - time.monotonic()))):
                return StopReason.INTERRUPTED


def see_through(
    invocation: Invocation,
    client: "Client",
    run_id: str,
    *,
    worker: "Engine | None",
    lines: bool = False,
    timeout: float | None = None,
    follower: Follower | None = None,
) -> int:
    """Shows the run until it ends, while `worker` works on it. Gives the exit code.

    Lines that `follower` has read before are not printed again.
    """
    reads, run = client.reads, client.reads.run(run_id).run
    view = view_for(as_json=invocation.json, lines=lines)
    active = None if run.status in ENDED_RUNS else worker
    with Interruption() as interruption:
        with working_on(active, run_id, interruption, keep_stdout=invocation.json) if active else nullcontext():
            follower = follower or Follower(reads, run_id, client.registry.get_workflow(run.workflow_id))
            stopped = watch(follower, view, interruption, timeout, every=invocation.look_every)
        status = report_run(invocation, reads, run_id)
    if status in ENDED_RUNS:
        return OF_STATUS[status]
    note(f"not ended after {timeout:g} s" if stopped is StopReason.TIMEOUT else "interrupted before the run had ended")
    again = "resume: {} run --resume" if worker else "watch:  {} runs watch"
    note(f"  {again.format(invocation.command)} {run_id}\n  cancel: {invocation.command} runs cancel {run_id}")
    return ExitCode.TIMEOUT if stopped is StopReason.TIMEOUT else interruption.exit_code


@contextmanager
def working_on(engine: "Engine", run_id: str, interruption: Interruption, *, keep_stdout: bool) -> Iterator[None]:
    """Runs a worker for this run only. With `keep_stdout`, the output of bodies goes to stderr."""
    workflow = engine.registry.get_workflow(engine.kernel.reads.run(run_id).run.workflow_id)
    groups = workflow.groups if workflow else ()
    pools = workflow.pools if workflow else ("default",)
    slots = min(MOST_SLOTS, max((len(group) for group in groups), default=1))
    worker = engine.worker(slots=slots, run_id=run_id, pools=pools)
    with redirect_stdout(sys.stderr) if keep_stdout else nullcontext():
        worker.start()
        try:
            yield
        finally:
            ended = engine.kernel.reads.run(run_id).run.completed_at is not None
            if interruption and not ended:
                say_stopping(GRACE)
            worker.stop(SETTLE if ended else GRACE)
