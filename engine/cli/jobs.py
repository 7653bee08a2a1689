"""`engine jobs`: the jobs that wait for a worker or run."""

from typing import Annotated

import typer

from engine.cli.formats import instant, short_id
from engine.cli.invocation import Invocation
from engine.cli.printing import on_terminal, say_json, say_table

app = typer.Typer(no_args_is_help=True, add_completion=False, help="List waiting and running jobs.")


@app.callback()
def jobs() -> None:
    """List waiting and running jobs."""


@app.command("list")
def list_jobs(
    ctx: typer.Context, *, limit: Annotated[int, typer.Option(min=1, max=1000, help="The maximum number.")] = 100
) -> None:
    """List jobs that have not ended, oldest first."""
    invocation: Invocation = ctx.obj
    with invocation.client() as client:
        found = client.reads.waiting_jobs(limit)
    if invocation.json:
        say_json(found)
        return
    run_ids = {job.workflow_run_id for job in found}
    rows = [
        (
            short_id(job.workflow_run_id, run_ids) if on_terminal() else job.workflow_run_id,
            job.stage_id,
            job.status.value,
            job.pool,
            job.priority,
            f"{job.attempt}/{job.max_attempts}",
            instant(job.due_at),
            instant(job.lease_until),
            job.worker_id,
            job.last_error,
        )
        for job in found
    ]
    headers = ("run", "stage", "status", "pool", "priority", "attempts", "due", "lease until", "worker", "last error")
    say_table(headers, rows, empty="no job waits or runs")
