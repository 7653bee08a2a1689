"""Logs, events, annotations and artifacts of a run, as text or JSON."""

import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from engine.cli.documents import artifact_document, event_document
from engine.cli.following import Events, Logs
from engine.cli.formats import instant, json_text, size
from engine.cli.printing import note, say, say_json, say_table
from engine.cli.views import event_line, log_line
from engine.domain.blob_keys import artifact_name
from engine.domain.errors import InvalidInput
from engine.domain.lifecycle import ENDED_RUNS
from engine.domain.records import AnnotationRecord, ArtifactRecord, LogRecord
from engine.ports.reads import Reads
from engine.reading.reads import StoredReads


def say_logs(reads: Reads, run_id: str, *, stage_id: str | None, follow: float | None, json: bool) -> None:
    """Prints the run's logs. `follow` is the polling interval in seconds until the run has ended; None reads once.

    With `follow` and JSON each line is a document, so that a reader gets them as they come.
    """
    if json and follow is None:
        say_json(Logs(reads, run_id, stage_id).new())
        return
    for log in _logs(reads, run_id, stage_id, follow=follow):
        say(json_text(log) if json else log_line(log))


def _logs(reads: Reads, run_id: str, stage_id: str | None, *, follow: float | None) -> Iterator[LogRecord]:
    logs = Logs(reads, run_id, stage_id)
    while True:
        ended = reads.run(run_id).run.status in ENDED_RUNS
        yield from logs.new()
        if ended or follow is None:
            return
        time.sleep(follow)


def say_events(reads: Reads, run_id: str, *, json: bool) -> None:
    found = Events(reads, run_id).new()
    if json:
        say_json([event_document(event) for event in found])
        return
    for event in found:
        say(f"{event.sequence:>4}  {event_line(event)}")


def say_annotations(found: Sequence[AnnotationRecord], *, json: bool) -> None:
    if json:
        say_json(found)
        return
    rows = [
        (
            instant(row.created_at),
            row.scope_id if row.scope == "stage" else row.scope,
            row.key,
            json_text(row.value),
            "/".join(part for part in (row.actor_kind, row.actor_id) if part),
        )
        for row in found
    ]
    say_table(("time", "where", "key", "value", "actor"), rows, empty="nothing is annotated")


def say_artifacts(found: Sequence[ArtifactRecord], *, json: bool) -> None:
    if json:
        say_json([artifact_document(artifact) for artifact in found])
        return
    rows = [(each.stage_id, each.name, size(each.size), each.content_type, each.blob_key) for each in found]
    say_table(("stage", "name", "size", "type", "blob"), rows, empty="the run left no artifacts")


def save_artifacts(reads: StoredReads, found: Sequence[ArtifactRecord], folder: Path, *, json: bool) -> None:
    """Saves each as `folder/stage/name`. Raises `InvalidInput` before anything is overwritten."""
    targets = [folder / each.stage_id / artifact_name(each.name) for each in found]
    if taken := next((target for target in targets if target.exists()), None):
        raise InvalidInput(f"{str(taken)!r} exists already; name another folder with --save")
    for artifact, target in zip(found, targets, strict=True):
        target.parent.mkdir(parents=True, exist_ok=True)
        with reads.open_artifact(artifact) as source, target.open("xb") as file:
            shutil.copyfileobj(source, file)
    if json:
        say_json([{**artifact_document(each), "path": str(path)} for each, path in zip(found, targets, strict=True)])
        return
    for target in targets:
        say(str(target))
    if not targets:
        note("the run left no artifacts")
