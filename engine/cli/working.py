"""What `run`, `run --resume` and `runs rerun` have in common: work on one run, show it, say how it ended."""

from contextlib import nullcontext
from typing import TYPE_CHECKING

from engine.cli.exit_codes import ExitCode
from engine.cli.following import Follower
from engine.cli.interruption import Interruption
from engine.cli.printing import note
from engine.cli.run_report import report_run
from engine.cli.watching import Ending, view_for, watch, working_on
from engine.domain.lifecycle import TERMINAL

if TYPE_CHECKING:
    from engine.bootstrap.embedded import Engine


def see_through(
    engine: "Engine", run_id: str, *, json: bool, work: bool = True, lines: bool = False, timeout: float | None = None
) -> int:
    """Shows the run until it ends, with `work` also working on it. Gives the exit code."""
    reads = engine.kernel.reads
    run = reads.run(run_id).run
    view = view_for(as_json=json, lines=lines)
    with Interruption() as interruption:
        active = work and run.status not in TERMINAL
        with working_on(engine, run_id, interruption, keep_stdout=json) if active else nullcontext():
            follower = Follower(reads, run_id, engine.registry.get_workflow(run.workflow_id))
            ending = watch(follower, view, interruption, timeout)
        code = report_run(reads, run_id, json=json)
        if reads.run(run_id).run.status in TERMINAL:
            return code
        return _unfinished(run_id, ending, interruption, timeout, worked=work)


def _unfinished(run_id: str, ending: Ending, interruption: Interruption, timeout: float | None, *, worked: bool) -> int:
    note(f"not ended after {timeout:g} s" if ending is Ending.TIMEOUT else "interrupted before the run had ended")
    if worked:
        note(f"  go on:   engine run --resume {run_id}")
    else:
        note(f"  look on: engine runs watch {run_id}")
    note(f"  give up: engine runs cancel {run_id}")
    return ExitCode.TIMEOUT if ending is Ending.TIMEOUT else interruption.exit_code
