"""`engine worker`: a host that works on all runs until it is stopped."""

import logging
from typing import Annotated

import typer

from engine.cli.formats import counted
from engine.cli.interruption import Interruption, say_stopping
from engine.cli.invocation import Invocation
from engine.cli.printing import PrintableFormatter, note, say_json

app = typer.Typer(add_completion=False)

GRACE = 30.0


@app.command()
def worker(
    ctx: typer.Context,
    *,
    slots: Annotated[int, typer.Option(min=1, max=256, help="Jobs at the same time, each in a process.")] = 1,
    pools: Annotated[str, typer.Option(help="Pools, separated by commas.")] = "default",
) -> None:
    """Work on all runs until SIGTERM or Ctrl-C; a second one stops at once."""
    invocation: Invocation = ctx.obj
    names = tuple(name for each in pools.split(",") if (name := each.strip())) or ("default",)
    handler = logging.StreamHandler()
    handler.setFormatter(PrintableFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    with invocation.engine(create=True) as engine, Interruption() as interruption:
        recovered = engine.recover()
        host = engine.worker(slots=slots, pools=names, in_process=False)
        host.start()
        size, taken = counted(slots, "slot"), counted(recovered, "job")
        note(f"worker {host.worker_id}: {size}, pools {', '.join(names)}; released {taken} of dead workers")
        interruption.wait(None)
        say_stopping(GRACE)
        in_time = host.stop(GRACE)
        stats = host.get_stats()
    note(
        f"stopped after {counted(stats.jobs_processed, 'job')}" + ("" if in_time else "; unfinished jobs were released")
    )
    if invocation.json:
        say_json(stats)
