"""Shows one run until it has ended, and optionally runs a worker for it."""

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol

from engine.cli.following import Follower, Moment
from engine.cli.interruption import Interruption, say_stopping
from engine.cli.live_view import LiveView
from engine.cli.plain_view import PlainView
from engine.cli.printing import console

if TYPE_CHECKING:
    from engine.bootstrap.embedded import Engine

GRACE = 5.0
SETTLE = 30.0
MOST_SLOTS = 4


class StopReason(Enum):
    """The reason why `watch` returned."""

    ENDED = auto()
    INTERRUPTED = auto()
    TIMEOUT = auto()


class View(Protocol):
    def show(self, moment: Moment) -> None: ...


def view_for(*, as_json: bool, lines: bool) -> AbstractContextManager[View]:
    """The live view on a terminal, else the plain view. With JSON it goes to stderr, because stdout has the JSON."""
    stream = sys.stderr if as_json else sys.stdout
    screen = console(stderr=as_json)
    if lines or not stream.isatty() or screen.is_dumb_terminal:
        return PlainView(stream)
    return LiveView(screen)


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
