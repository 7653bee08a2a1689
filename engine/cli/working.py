"""Works on one run, shows it, and reports its end, for `run`, `run --resume` and `runs rerun`."""

from contextlib import nullcontext
from typing import TYPE_CHECKING

from engine.cli.exit_codes import OF_STATUS, ExitCode
from engine.cli.following import Follower
from engine.cli.interruption import Interruption
from engine.cli.invocation import Invocation
from engine.cli.printing import note
from engine.cli.run_report import report_run
from engine.cli.watching import StopReason, view_for, watch, working_on
from engine.domain.lifecycle import TERMINAL

if TYPE_CHECKING:
    from engine.bootstrap.embedded import Engine


def see_through(
    invocation: Invocation,
    engine: "Engine",
    run_id: str,
    *,
    work: bool = True,
    lines: bool = False,
    timeout: float | None = None,
    follower: Follower | None = None,
) -> int:
    """Shows the run until it ends, with `work` also working on it. Gives the exit code.

    Lines that `follower` has read before are not printed again.
    """
    reads = engine.kernel.reads
    run = reads.run(run_id).run
    view = view_for(as_json=invocation.json, lines=lines)
    with Interruption() as interruption:
        active = work and run.status not in TERMINAL
        with working_on(engine, run_id, interruption, keep_stdout=invocation.json) if active else nullcontext():
            follower = follower or Follower(reads, run_id, engine.registry.get_workflow(run.workflow_id))
            stopped = watch(follower, view, interruption, timeout, every=invocation.look_every)
        status = report_run(invocation, reads, run_id)
        if status in TERMINAL:
            return OF_STATUS[status]
    note(f"not ended after {timeout:g} s" if stopped is StopReason.TIMEOUT else "interrupted before the run had ended")
    again = f"go on:   {invocation.command} run --resume" if work else f"look on: {invocation.command} runs watch"
    note(f"  {again} {run_id}\n  give up: {invocation.command} runs cancel {run_id}")
    return ExitCode.TIMEOUT if stopped is StopReason.TIMEOUT else interruption.exit_code
