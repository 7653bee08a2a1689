"""Runs as text: a list, one run, and the report at its end with commands that show more."""

from collections.abc import Iterator, Sequence

from engine.cli.documents import run_document
from engine.cli.following import Follower, StageNow
from engine.cli.formats import (
    cost,
    instant,
    local_time,
    milliseconds,
    money,
    one_line,
    seconds,
    short_id,
    size,
)
from engine.cli.invocation import Invocation
from engine.cli.printing import as_json, note, on_terminal, say, say_fields, say_json, say_table
from engine.cli.run_cost import unknown_calls
from engine.domain.lifecycle import ENDED_RUNS, RunStatus, StageStatus
from engine.domain.records import ArtifactRecord, RunRecord, StageRecord
from engine.domain.values import Json
from engine.ports.reads import Page, Reads, RunView

OUTPUT_LINES = 30


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
        note(f"more runs exist: add --before {short_id(page.cursor, ids) if terminal else page.cursor}")


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


def report_run(invocation: Invocation, reads: Reads, run_id: str, *, hints: bool = True) -> RunStatus:
    """Prints output, artifacts, totals and `hints`: commands that show more. Gives the run's status."""
    view = reads.run(run_id)
    if invocation.json:
        say_json(run_document(reads, view))
    else:
        _say(invocation.command if hints else None, reads, view)
    if view.run.status is RunStatus.FAILED:
        note(f"error: {_failure(view)}")
    return view.run.status


def shown_id(run: RunRecord) -> str:
    return short_id(run.id) if on_terminal() else run.id


def _say(command: str | None, reads: Reads, view: RunView) -> None:
    run, artifacts = view.run, reads.artifacts(view.run.id)
    if run.output is not None:
        say("\nOutput")
        say_output(reads.value(run.output), rest=f"{command} runs show {shown_id(run)}" if command else None)
    if artifacts:
        say("\nArtifacts")
        for line in artifact_lines(artifacts):
            say(line)
        if command is not None:
            say(f"  to keep them: {command} runs artifacts {shown_id(run)} --save DIR")
    say(f"\n{totals(run, sum(unknown_calls(reads.call_totals(run.id)).values()))}")
    if command is not None and run.status in ENDED_RUNS:
        for hint in _hints(f"{command} runs", run, artifacts, view.stages):
            say(f"  {hint}")


def say_output(value: Json, *, rest: str | None = None) -> None:
    """Pretty JSON. A terminal shows only the beginning if the command `rest` shows the whole."""
    lines = as_json(value).splitlines()
    cut = rest is not None and on_terminal() and len(lines) > OUTPUT_LINES
    for line in lines[:OUTPUT_LINES] if cut else lines:
        say(line)
    if cut:
        say(f"… {len(lines) - OUTPUT_LINES} more lines: {rest}")


def artifact_lines(artifacts: Sequence[ArtifactRecord]) -> Iterator[str]:
    width = max(len(artifact.name) for artifact in artifacts)
    for artifact in artifacts:
        name = one_line(artifact.name)
        yield f"  {name:<{width}}  {size(artifact.size):>9}  {artifact.blob_key}"


def totals(run: RunRecord, unknown: int) -> str:
    """`unknown`: the number of calls of models without a known price."""
    tokens = f" · {run.total_tokens:,} tokens" if run.total_tokens else ""
    duration = f" in {milliseconds(run.duration_ms)}" if run.duration_ms is not None else ""
    return f"{run.status}{duration} · {cost(run.total_cost, unknown)}{tokens} · run {run.id}"


def _failure(view: RunView) -> str:
    run = view.run
    stage = next((stage for stage in view.stages if stage.status is StageStatus.FAILED), None)
    where = f" in stage {stage.stage_id!r}" if stage else ""
    return f"run {run.id} failed{where}: {one_line(run.failure_message or 'no reason is recorded')}"


def _hints(
    runs: str, run: RunRecord, artifacts: Sequence[ArtifactRecord], stages: Sequence[StageRecord]
) -> Iterator[str]:
    run_id = shown_id(run)
    yield f"{runs} show {run_id}"
    yield f"{runs} logs {run_id}"
    if artifacts:
        yield f"{runs} artifacts {run_id}"
    failed = next((stage for stage in stages if stage.status is StageStatus.FAILED), None)
    if failed is not None:
        yield f"{runs} rerun {run_id} --from {failed.stage_id}"
