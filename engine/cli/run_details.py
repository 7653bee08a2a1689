"""`engine runs list` and `engine runs show` as text."""

from collections.abc import Sequence

from engine.cli.following import Follower, StageNow
from engine.cli.formats import cost, instant, local_time, milliseconds, money, one_line, seconds, short_id
from engine.cli.printing import note, on_terminal, say, say_fields, say_table
from engine.cli.run_cost import unknown_calls
from engine.cli.run_report import artifact_lines, say_output
from engine.kernel.reads import Page, Reads, RunView


def say_runs(page: Page) -> None:
    ids = [run.id for run in page.runs]
    terminal = on_terminal()
    rows = [
        (
            short_id(run.id, ids) if terminal else run.id,
            run.workflow_id,
            run.status.value,
            local_time(run.created_at) if terminal else instant(run.created_at),
            milliseconds(run.duration_ms),
            money(run.total_cost),
            run.failure_message or "",
        )
        for run in page.runs
    ]
    headers = ("run", "workflow", "status", "created", "took", "cost", "error")
    say_table(headers, rows, empty="no runs; start one with: engine run WORKFLOW --input FILE")
    if page.cursor is not None:
        note(f"there are more: add --before {short_id(page.cursor, ids) if terminal else page.cursor}")


def say_run(reads: Reads, view: RunView) -> None:
    run, unknown = view.run, unknown_calls(reads.call_totals(view.run.id))
    say_fields(
        [
            ("run", run.id),
            ("workflow", run.workflow_id),
            ("status", run.status.value),
            ("tenant", run.tenant),
            ("parent", run.parent_run_id),
            ("created", instant(run.created_at)),
            ("ended", instant(run.completed_at)),
            ("took", milliseconds(run.duration_ms)),
            ("cost", cost(run.total_cost, sum(unknown.values()))),
            ("tokens", run.total_tokens or None),
            ("error", run.failure_message and f"{run.failure_code}: {one_line(run.failure_message)}"),
        ]
    )
    say("\nStages")
    say_table(
        ("group", "stage", "status", "queued", "ran", "suspended", "cost", "attempts", "generation", "error"),
        [_stage_row(stage, unknown[stage.id]) for stage in Follower(reads, run.id, None).look().stages],
        empty="no stage has begun",
    )
    say("\nInput")
    say_output(reads.value(run.input))
    if run.output is not None:
        say("\nOutput")
        say_output(reads.value(run.output))
    if artifacts := reads.artifacts(run.id):
        say("\nArtifacts")
        for line in artifact_lines(artifacts):
            say(line)


def _stage_row(stage: StageNow, unknown: int) -> Sequence[object]:
    record = stage.record
    return (
        stage.group,
        stage.id,
        stage.status.value,
        seconds(stage.time.queued),
        seconds(stage.time.running),
        seconds(stage.time.suspended) if stage.time.suspended else "",
        cost(record.total_cost, unknown) if record else "",
        stage.job.attempt if stage.job else "",
        (record.generation or "") if record else "",
        (record.error_message or "") if record else "",
    )
